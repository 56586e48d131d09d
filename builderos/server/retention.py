"""Removes every day what is kept too long: sessions without activity for longer than `retention_days`, and checkpoints,
those of removed sessions, old ones, and the oldest beyond the space limit.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import trio

from actors.errors import ActorError
from actors.ports import Catalog, Clock
from bridgehub.workspace.prune import prune
from storage.errors import SessionMissing, StorageError
from storage.records import SessionRecord

__all__ = ["DAY_MS", "CheckpointKeeper", "Retention"]

DAY_MS = 24 * 60 * 60 * 1000

ROUND_S = 24 * 60 * 60.0
"""Time between two rounds: an age is counted in days."""

PAGE_ROWS = 100
"""Sessions in one page."""

CHECKPOINTS_FIRST_S = 300.0
"""How long after the start checkpoints are looked at first, since it is not urgent."""

log = logging.getLogger("builderos.server.retention")


@attrs.define(eq=False)
class Retention:
    """Checks all sessions at the start and then every day.

    Age is counted from the last event of a session's journal, in UTC; reading does not count. A session with an open
    turn or a waiting message is left alone, and so is one that `is_in_use` names, or one of another machine.

    Attributes:
        days: sessions older than this are removed.
        is_in_use: returns whether a device is attached to a session or its owner is live.
        remove: removes one session forever. May raise SessionMissing if it was removed meanwhile, and ActorError if its
            owner does not release it now.
    """

    catalog: Catalog
    days: float
    clock: Clock
    is_in_use: Callable[[str], bool]
    remove: Callable[[str], Awaitable[None]]

    async def run(self) -> None:
        """Work until cancelled. A round that storage refuses is logged and retried the next day."""
        while True:
            try:
                await self.run_round()
            except StorageError as error:
                log.warning("retention: cannot read the sessions, trying again tomorrow: %s", error)
            await trio.sleep(ROUND_S)

    async def run_round(self) -> int:
        """Remove sessions that are too old now; return how many.

        Cancellation: between two sessions; the next start continues a removal that has begun.

        Raises:
            StorageError: the sessions before it are removed.
        """
        cutoff_ms = self.clock() - int(self.days * DAY_MS)
        before = (cutoff_ms, "")  # sessions active at or after the cutoff are not listed
        removed = kept = 0
        while page := await self.catalog.page(PAGE_ROWS, before):
            before = (page[-1].last_activity_ms, page[-1].session_id)
            gone = await self._remove_each(page)
            removed, kept = removed + gone, kept + len(page) - gone
        if removed or kept:
            log.info(
                "retention: %d sessions without activity for %g days removed, %d in use kept",
                removed,
                self.days,
                kept,
            )
        return removed

    async def _remove_each(self, page: Sequence[SessionRecord]) -> int:
        removed = 0
        for record in page:
            if await self._is_kept(record.session_id, record.last_activity_ms):
                continue
            try:
                await self.remove(record.session_id)
            except (SessionMissing, ActorError):  # removed meanwhile, or it has work after all
                continue
            log.info("session %s: removed by retention", record.session_id)
            removed += 1
        return removed

    async def _is_kept(self, session_id: str, seen_ms: int) -> bool:
        """Check once more right before the removal: the page may be old by now."""
        record = await self.catalog.get(session_id)
        if record is None or record.last_activity_ms != seen_ms:
            return True
        busy = record.summary is not None and record.summary.unfinished
        elsewhere = record.owner != self.catalog.owner
        return busy or elsewhere or self.is_in_use(session_id)


@attrs.define(eq=False)
class CheckpointKeeper:
    """The task that removes checkpoints. `folder`: of all stores; `days`: how long a checkpoint is kept."""

    folder: Path
    catalog: Catalog
    days: float
    clock: Clock

    async def run(self) -> None:
        """Work until cancelled. A round that storage refuses is left for the next day."""
        await trio.sleep(CHECKPOINTS_FIRST_S)
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
