"""Removes checkpoints every day: those of removed sessions, old ones, and the oldest beyond the space limit."""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
import trio

from actors.ports import Catalog, Clock
from bridgehub.workspace.prune import prune
from builderos.server.retention import DAY_MS
from storage.errors import StorageError

__all__ = ["CheckpointKeeper"]

FIRST_S = 300.0
"""Delay after the start, since it is not urgent."""

ROUND_S = 24 * 60 * 60.0
PAGE_ROWS = 500

log = logging.getLogger("builderos.server.checkpoints")


@attrs.define(eq=False)
class CheckpointKeeper:
    """The task that removes checkpoints. `folder`: of all stores; `days`: how long a checkpoint is kept."""

    folder: Path
    catalog: Catalog
    days: float
    clock: Clock

    async def run(self) -> None:
        """Work until cancelled. A round that storage refuses is left for the next day."""
        await trio.sleep(FIRST_S)
        while True:
            try:
                await self.run_round()
            except StorageError as error:
                log.warning("checkpoints: cannot be read, trying again tomorrow: %s", error)
            await trio.sleep(ROUND_S)

    async def run_round(self) -> int:
        """Remove checkpoints that are not needed any more; return how many. Raises StorageError."""
        sessions: list[str] = []
        before: tuple[int, str] | None = None
        while page := await self.catalog.page(PAGE_ROWS, before):
            sessions += [record.session_id for record in page]
            before = (page[-1].last_activity_ms, page[-1].session_id)
        oldest_s = (self.clock() - int(self.days * DAY_MS)) // 1000
        gone = await trio.to_thread.run_sync(prune, self.folder, sessions, oldest_s, abandon_on_cancel=True)
        if gone:
            log.info("checkpoints: %d removed", gone)
        return gone
