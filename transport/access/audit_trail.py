"""Turns sign-ins, failed sign-ins and acts into rows of the audit.

Neither a stranger nor a device that asks every second may fill the disk. So repeated acts are counted: the first is
written at once, the others as one row with their number at the end of a period. If the server is killed, the counts of
the last minutes are lost, but the first row of each is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

import attrs
import trio

from actors.ports import Clock
from storage.errors import StorageError
from storage.tables.audit import Audit
from storage.tables.hash_chain import Act
from transport.access.attempts import MAX_ADDRESSES, site_of

__all__ = ["AuditLog", "AuditTrail", "Counting", "known_addresses"]

HOUR_MS: Final = 3600 * 1000
DAY_MS: Final = 24 * HOUR_MS
MINUTE_MS: Final = 60 * 1000

KNOWN_MS: Final = 7 * DAY_MS

SIGNED_IN: Final = "signed_in"
FAILED: Final = "sign_in_failed"

MAX_FAILING: Final = 10
"""Addresses in a minute whose wrong keys get rows of their own; those of all others are counted together."""

MAX_FAILED_ROWS: Final = 5_000
"""Rows a day about wrong keys; beyond that all of an hour are counted together. So a flood of a month does not push out
the rows of that month."""

MAX_SIGNED_IN: Final = 60
"""Rows an hour about one device's sign-ins from changing addresses."""

MAX_WAITING: Final = 10_000
"""Rows that wait while the disk cannot be written; beyond that acts are only counted."""

BATCH_ROWS: Final = 64
"""Rows of one transaction."""

RETRY_S: Final = 5.0
FLUSH_S: Final = 30.0
"""How often to check for periods that have ended."""

logger = logging.getLogger("builderos.transport")


class AuditLog(Protocol):
    """The store of acts; `storage.tables.audit.Audit` implements it."""

    async def append(self, acts: Sequence[Act]) -> None:
        """Store acts, durably. Raises StorageUnavailable."""
        ...


async def known_addresses(audit: Audit, now_ms: int) -> Sequence[str]:
    """Return the addresses that good keys came from in the last week. Raises StorageUnavailable."""
    return await audit.addresses(SIGNED_IN, now_ms - KNOWN_MS, MAX_ADDRESSES)


@attrs.define
class _Open:
    """Acts that are counted since a row was written."""

    act: Act
    until_ms: int
    more: int = 0

    def end(self, now_ms: int) -> list[Act]:
        """Return the row with the count, or nothing if nothing was counted."""
        return [attrs.evolve(self.act, at_ms=now_ms, count=self.more)] if self.more else []


@attrs.define
class _Sightings:
    """The addresses of one device in this hour. `rows`: how many rows it has."""

    now: _Open
    since_ms: int
    rows: int = 1


@attrs.define(eq=False)
class Counting:
    """Turns acts into few enough rows. No I/O, no clock."""

    _devices: dict[tuple[str, str], _Sightings] = attrs.field(factory=dict)
    _failing: dict[str | None, _Open] = attrs.field(factory=dict)
    _failed_rows: int = 0
    _failed_since_ms: int = 0

    def signed_in(self, act: Act) -> list[Act]:
        """Take a sign-in: a row if the device comes from another address than before, else a count."""
        key = act.act, act.device_id or ""
        known = self._devices.get(key)
        if known is None or act.at_ms - known.since_ms >= HOUR_MS:
            ended = [] if known is None else known.now.end(act.at_ms)
            self._devices[key] = _Sightings(_Open(act, act.at_ms + HOUR_MS), act.at_ms)
            return [*ended, act]
        if known.now.act.address == act.address or known.rows >= MAX_SIGNED_IN:
            known.now.more += 1
            return []
        ended = known.now.end(act.at_ms)
        known.now, known.rows = _Open(act, known.now.until_ms), known.rows + 1
        return [*ended, act]

    def failed(self, act: Act) -> list[Act]:
        """Take a wrong key: a row for each address and minute while these are few, else a count."""
        ended = self._end_failing(act.at_ms)
        if act.at_ms - self._failed_since_ms >= DAY_MS:
            self._failed_rows, self._failed_since_ms = 0, act.at_ms
        spent = self._failed_rows >= MAX_FAILED_ROWS
        site = None if act.address is None else site_of(act.address)
        if site not in self._failing and (spent or len(self._failing.keys() - {None}) >= MAX_FAILING):
            site = None
        known = self._failing.get(site)
        if known is not None:
            known.more += 1
            return ended
        made = act if site is not None else attrs.evolve(act, address=None)
        self._failing[site] = _Open(made, act.at_ms + (HOUR_MS if spent else MINUTE_MS))
        self._failed_rows += 1
        return [*ended, made]

    def flush(self, now_ms: int, *, everything: bool = False) -> list[Act]:
        """Return the counts whose period has ended, or all counts if `everything`."""
        due = [
            key for key, sightings in self._devices.items() if everything or now_ms >= sightings.now.until_ms
        ]
        ended = [act for key in due for act in self._devices.pop(key).now.end(now_ms)]
        return [*ended, *self._end_failing(now_ms, everything=everything)]

    def _end_failing(self, now_ms: int, *, everything: bool = False) -> list[Act]:
        due = [site for site, count in self._failing.items() if everything or now_ms >= count.until_ms]
        ended = [act for site in due for act in self._failing.pop(site).end(now_ms)]
        self._failed_rows += len(ended)
        return ended


@attrs.define(eq=False)
class AuditTrail:
    """Takes acts without blocking and stores them shortly after, in order."""

    log: AuditLog
    clock: Clock
    counting: Counting = attrs.field(factory=Counting)
    _waiting: list[Act] = attrs.field(factory=list)
    _lost: int = 0
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def signed_in(self, device_id: str, address: str, act: str = SIGNED_IN) -> None:
        """Record that a valid key was used. Never blocks."""
        made = Act(at_ms=self.clock(), act=act, device_id=device_id, address=address or None)
        self._put(self.counting.signed_in(made))

    def failed(self, address: str, subject: str = "key") -> None:
        """Record that a wrong key or code was tried. Never blocks."""
        made = Act(at_ms=self.clock(), act=FAILED, address=address or None, subject=subject)
        self._put(self.counting.failed(made))

    def note(self, act: Act) -> None:
        """Record another act. Never blocks."""
        self._put([act])

    async def run(self) -> None:
        """Store acts until cancelled; then store the rest if that works at once."""
        try:
            while True:
                with trio.move_on_after(FLUSH_S):
                    await self._wake.wait()
                self._wake = trio.Event()
                self._put(self.counting.flush(self.clock()))
                if not await self._store():
                    await trio.sleep(RETRY_S)
                    self._wake.set()
        finally:
            self._put(self.counting.flush(self.clock(), everything=True))
            # Acts that do not reach the disk within this time are missing from the audit, and only there.
            with trio.move_on_after(RETRY_S, shield=True):
                await self._store()

    def _put(self, acts: Sequence[Act]) -> None:
        if not acts:
            return
        room = MAX_WAITING - len(self._waiting)
        self._waiting += acts[:room]
        self._lost += max(0, len(acts) - room)
        self._wake.set()

    async def _store(self) -> bool:
        """Store the waiting rows; False if that failed."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            lost = self._lost
            taken = self._waiting[:BATCH_ROWS]
            more = [Act(at_ms=self.clock(), act="rows_lost", count=lost)] if lost else []
            try:
                await self.log.append([*taken, *more])
            except StorageError as failed:
                logger.warning("audit: cannot be written, trying again: %s", failed)
                return False
            del self._waiting[: len(taken)]
            self._lost -= lost
        return True
