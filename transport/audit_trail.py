"""What happens at the doors, on its way into the audit.

A stranger must not fill the disk, and a device that asks every second must not either. So what comes again and
again is counted: the first of it is written at once, the rest as one row with their number when its time is over.
The numbers of the last minutes are lost where the server is killed; what they count began in a row.
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
from transport.tries import MAX_ADDRESSES, site_of

__all__ = ["AuditLog", "AuditTrail", "Counting", "known_addresses"]

HOUR_MS: Final = 3600 * 1000
DAY_MS: Final = 24 * HOUR_MS
MINUTE_MS: Final = 60 * 1000

KNOWN_MS: Final = 7 * DAY_MS

SIGNED_IN: Final = "signed_in"
FAILED: Final = "sign_in_failed"

MAX_FAILING: Final = 10
"""Addresses of a minute whose wrong keys get rows of their own; those of all others are counted together."""

MAX_FAILED_ROWS: Final = 5_000
"""Rows a day about wrong keys; beyond that all of an hour are counted together. So who floods us for a month does
not push out what we know of the month."""

MAX_SIGNED_IN: Final = 60
"""Rows an hour about one device's sign-ins: it changed its address so often."""

MAX_WAITING: Final = 10_000
"""Rows that wait for a disk that does not write; beyond it they are only counted."""

BATCH_ROWS: Final = 64
"""Rows of one transaction."""

RETRY_S: Final = 5.0
FLUSH_S: Final = 30.0
"""How often it is looked whether some time is over."""

logger = logging.getLogger("builderos.transport")


class AuditLog(Protocol):
    """Where acts are stored; `storage.tables.audit.Audit` is one."""

    async def append(self, acts: Sequence[Act]) -> None:
        """Store acts, durably. Raises StorageUnavailable."""
        ...


async def known_addresses(audit: Audit, now_ms: int) -> Sequence[str]:
    """Return the addresses that good keys came from in the last week. Raises StorageUnavailable."""
    return await audit.addresses(SIGNED_IN, now_ms - KNOWN_MS, MAX_ADDRESSES)


@attrs.define
class _Open:
    """What is counted now: since a row that was written."""

    act: Act
    until_ms: int
    more: int = 0

    def end(self, now_ms: int) -> list[Act]:
        """Return the row that tells the count, if there is one to tell."""
        return [attrs.evolve(self.act, at_ms=now_ms, count=self.more)] if self.more else []


@attrs.define
class _Sightings:
    """Where one device comes from, in this hour. `rows`: how often it was told."""

    now: _Open
    since_ms: int
    rows: int = 1


@attrs.define(eq=False)
class Counting:
    """Turns what happens into rows, few enough. No I/O, no clock."""

    _devices: dict[tuple[str, str], _Sightings] = attrs.field(factory=dict)
    _failing: dict[str | None, _Open] = attrs.field(factory=dict)
    _failed_rows: int = 0
    _failed_since_ms: int = 0

    def signed_in(self, act: Act) -> list[Act]:
        """Take a sign-in: a row where the device comes from another address than before, else a count."""
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
        """Take a wrong key: a row for each address and minute, as long as these are few; else a count."""
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
        """Return the counts whose time is over; at the end of all, every one."""
        due = [key for key, one in self._devices.items() if everything or now_ms >= one.now.until_ms]
        ended = [act for key in due for act in self._devices.pop(key).now.end(now_ms)]
        return [*ended, *self._end_failing(now_ms, everything=everything)]

    def _end_failing(self, now_ms: int, *, everything: bool = False) -> list[Act]:
        due = [site for site, one in self._failing.items() if everything or now_ms >= one.until_ms]
        ended = [act for site in due for act in self._failing.pop(site).end(now_ms)]
        self._failed_rows += len(ended)
        return ended


@attrs.define(eq=False)
class AuditTrail:
    """Takes acts without blocking and stores them a moment later, in order."""

    log: AuditLog
    clock: Clock
    counting: Counting = attrs.field(factory=Counting)
    _waiting: list[Act] = attrs.field(factory=list)
    _lost: int = 0
    _wake: trio.Event = attrs.field(factory=trio.Event)

    def signed_in(self, device_id: str, address: str, act: str = SIGNED_IN) -> None:
        """Note that a good key was used. Never blocks."""
        made = Act(at_ms=self.clock(), act=act, device_id=device_id, address=address or None)
        self._put(self.counting.signed_in(made))

    def failed(self, address: str, subject: str = "key") -> None:
        """Note that a wrong key or code was tried. Never blocks."""
        made = Act(at_ms=self.clock(), act=FAILED, address=address or None, subject=subject)
        self._put(self.counting.failed(made))

    def note(self, act: Act) -> None:
        """Note anything else. Never blocks."""
        self._put([act])

    async def run(self) -> None:
        """Store what comes, until cancelled; then what is left is stored as far as that works at once."""
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
            # What does not reach the disk within this time is lost to the audit, and to nobody else.
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
        """Store what waits; False where that failed."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            lost = self._lost
            taken = self._waiting[:BATCH_ROWS]
            more = [Act(at_ms=self.clock(), act="rows_lost", count=lost)] if lost else []
            try:
                await self.log.append([*taken, *more])
            except StorageError as failed:
                logger.warning("the audit cannot be written: %s", failed)
                return False
            del self._waiting[: len(taken)]
            self._lost -= lost
        return True
