"""Removes sessions that nobody has used for long, where the config says so (`retention_days`)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from actors.errors import ActorError
from actors.ports import Catalog, Clock
from storage.errors import SessionMissing, StorageError
from storage.records import SessionRecord

__all__ = ["DAY_MS", "Retention"]

DAY_MS = 24 * 60 * 60 * 1000

ROUND_S = 24 * 60 * 60.0
"""Between two rounds: an age is counted in days."""

PAGE_ROWS = 100
"""Sessions looked at together."""

log = logging.getLogger("builderos.server.retention")


@attrs.define(eq=False)
class Retention:
    """Looks at all sessions at the start and then every day.

    Age is counted from the last event of a session's journal, in UTC; reading does not count. A session with an
    open turn or a message that waits is left alone, and so is one that `is_in_use` names.

    Attributes:
        days: sessions older than this go.
        is_in_use: tells whether a device is attached to a session or its owner is live.
        remove: removes one session for good; may raise SessionMissing where somebody else did, and ActorError
            where its owner does not let it go now.
    """

    catalog: Catalog
    days: float
    clock: Clock
    is_in_use: Callable[[str], bool]
    remove: Callable[[str], Awaitable[None]]

    async def run(self) -> None:
        """Work until cancelled. A round that storage does not take is logged and tried again the next day."""
        while True:
            try:
                await self.run_round()
            except StorageError as error:
                log.warning("sessions could not be looked at for their age: %s", error)
            await trio.sleep(ROUND_S)

    async def run_round(self) -> int:
        """Remove what is too old now; return how many sessions went.

        Cancellation: between two sessions; one that is being removed goes on at the next start.

        Raises:
            StorageError: those before it are gone.
        """
        cutoff_ms = self.clock() - int(self.days * DAY_MS)
        before = (cutoff_ms, "")  # what was active at or after the cutoff does not come
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
            except (SessionMissing, ActorError):  # somebody was faster, or it has work after all
                continue
            log.info("session %s: removed by retention", record.session_id)
            removed += 1
        return removed

    async def _is_kept(self, session_id: str, seen_ms: int) -> bool:
        """Look once more right before the removal: the page may be old by now."""
        record = await self.catalog.get(session_id)
        if record is None or record.last_activity_ms != seen_ms:
            return True
        busy = record.summary is not None and record.summary.unfinished
        return busy or self.is_in_use(session_id)
