"""Pairing codes: each makes one device, once. Only hashes are stored, and each code expires.

A code is as good as a key until it is used. So it lives for minutes, there are few, and those that a device made end
with that device's key. The machine's clock may be set back, so a code also expires by a monotonic clock, and an expired
code is removed from the disk.
"""

from __future__ import annotations

import hmac
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from storage.errors import StorageError
from storage.tables.audit import append_acts
from storage.tables.devices import DeviceRow, DeviceTable, add_device, hash_of
from storage.tables.hash_chain import Act
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["MAX_PAIRINGS", "PAIRING_MS", "PAIRING_SCHEMA", "Pairing", "Pairings"]

PAIRING_SCHEMA = """
-- Codes that were made and not used yet.
CREATE TABLE pairing (
  code_hash     BLOB PRIMARY KEY,
  name          TEXT,
  scope         TEXT NOT NULL,
  made_by       TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pairing_by_maker ON pairing (made_by);
"""

MAX_PAIRINGS = 20
"""Codes that are valid at once: a person pairs one device after the other."""

PAIRING_MS = 10 * 60 * 1000
"""How long a code is valid."""

RETRY_S = 5.0
"""Seconds after which a failed removal of expired codes is retried."""

_ALL = "SELECT code_hash, name, scope, made_by, expires_at_ms FROM pairing ORDER BY expires_at_ms"
_FORGET = "DELETE FROM pairing WHERE expires_at_ms <= ?"
_REMOVE = "DELETE FROM pairing WHERE code_hash = ?"
_COUNT = "SELECT count(*) FROM pairing"
_ADD = "INSERT INTO pairing (code_hash, name, scope, made_by, expires_at_ms) VALUES (?, ?, ?, ?, ?)"
_TAKE = "DELETE FROM pairing WHERE code_hash = ? AND expires_at_ms > ?"

_log = logging.getLogger("builderos.storage")


@attrs.frozen
class Pairing:
    """The device that a code makes. `name`: None lets the device choose. `made_by`: the device that created the
    code."""

    code_hash: bytes = attrs.field(repr=False)
    name: str | None
    scope: str
    made_by: str
    expires_at_ms: int

    def left_s(self, now_ms: int) -> float:
        """Return for how many seconds it is valid; not above 0 if it has expired, or the clock is before its
        creation."""
        left_ms = self.expires_at_ms - now_ms
        return left_ms / 1000 if left_ms <= PAIRING_MS else 0.0


@attrs.define(eq=False)
class _Open:
    """A code that may be valid. `ends_at`: by Trio's clock, once that is known."""

    pairing: Pairing
    ends_at: float = math.inf


@attrs.define(eq=False)
class Pairings:
    """The open codes, held in memory. A change is durable before it counts here. Call `load` first."""

    _writer: TableWriter
    _readers: TableReaders
    _devices: DeviceTable
    _open: dict[bytes, _Open] = attrs.field(factory=dict, init=False)
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def load(self) -> None:
        """Read all codes."""
        self._open = {row[0]: _Open(Pairing(*row)) for row in await self._readers.all(_ALL)}

    async def refresh(self) -> None:
        """Read what other nodes changed. A code that is known keeps its time. Raises StorageError."""
        found = [Pairing(*row) for row in await self._readers.all(_ALL)]
        known = self._open
        self._open = {one.code_hash: known.get(one.code_hash) or _Open(one) for one in found}
        self._wake.set()

    async def run(self, clock: Callable[[], int]) -> None:
        """Remove expired codes from the disk, until cancelled: then a wrong clock cannot revive them."""
        while True:
            now_ms = clock()
            ended = [key for key, entry in self._open.items() if not self._is_good(entry, now_ms)]
            if ended and not await self._remove(ended):
                await trio.sleep(RETRY_S)
                continue
            with trio.move_on_at(min((entry.ends_at for entry in self._open.values()), default=math.inf)):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _remove(self, ended: Sequence[bytes]) -> bool:
        try:
            await self._writer.submit(partial(_remove, ended), durable=True)
        except StorageError as failed:
            _log.warning("pairing codes: cannot remove expired ones yet: %s", failed)
            return False
        for code_hash in ended:
            self._open.pop(code_hash, None)
        return True

    def find(self, code: str, *, now_ms: int) -> Pairing | None:
        """Return the pairing of a code; None for one that is unknown, used or expired. Never blocks.

        Takes equally long for every wrong code.
        """
        wanted, found = hash_of(code), None
        for code_hash, entry in self._open.items():
            if hmac.compare_digest(wanted, code_hash) and self._is_good(entry, now_ms):
                found = entry.pairing
        return found

    async def open(self, code: str, pairing: Pairing, *, now_ms: int, noted: Sequence[Act] = ()) -> bool:
        """Make a code valid; False if `MAX_PAIRINGS` are. Expired codes are dropped.

        `noted` goes into the audit in the same transaction.

        Raises:
            StorageUnavailable: nothing was stored.
        """
        stored = attrs.evolve(pairing, code_hash=hash_of(code))
        kept = await self._writer.submit(partial(_open, stored, now_ms, noted), durable=True)
        if kept:
            live = {key: entry for key, entry in self._open.items() if entry.pairing.expires_at_ms > now_ms}
            self._open = {**live, stored.code_hash: _Open(stored)}
            self._is_good(self._open[stored.code_hash], now_ms)  # its time begins
            self._wake.set()
        return kept

    async def redeem(self, pairing: Pairing, device: DeviceRow, key: str, noted: Sequence[Act] = ()) -> bool:
        """Use up a code for a new device; False, and no change, if another device was faster.

        Code and device change in one transaction.

        Args:
            pairing: the result of `find`.
            device: the device to add.
            key: its key.
            noted: goes into the audit in the same transaction.

        Raises:
            DeviceExists: its id is taken; the code stays good.
            StorageUnavailable: nothing was stored; the code stays good.
        """
        found = self._open.get(pairing.code_hash)
        if found is None or not self._is_good(found, device.created_at_ms):
            await trio.lowlevel.checkpoint()
            return False
        key_hash = hash_of(key)
        is_good = partial(self._devices.is_good, pairing.made_by)
        work = partial(_redeem, found.pairing, device, key_hash, is_good, noted)
        if not await self._writer.submit(work, durable=True):
            return False
        self._open.pop(pairing.code_hash, None)
        self._devices.admit(device, key_hash)
        return True

    def of(self, device_id: str, *, now_ms: int) -> Sequence[Pairing]:
        """Return the codes of a device that are still valid."""
        open_ones = [entry for entry in self._open.values() if self._is_good(entry, now_ms)]
        return [entry.pairing for entry in open_ones if entry.pairing.made_by == device_id]

    def _is_good(self, entry: _Open, now_ms: int) -> bool:
        """Return whether a code may still be used. An expired code stays expired."""
        now, pairing = trio.current_time(), entry.pairing
        was_set_back = now_ms < pairing.expires_at_ms - PAIRING_MS
        # Once its own time is known, a clock that was set back does not count.
        if entry.ends_at == math.inf or not was_set_back:
            entry.ends_at = min(entry.ends_at, now + pairing.left_s(now_ms))
        if now < entry.ends_at and self._devices.get(entry.pairing.made_by) is not None:
            return True
        self._wake.set()
        return False


def _open(pairing: Pairing, now_ms: int, acts: Sequence[Act], connection: Transaction) -> bool:
    connection.execute(_FORGET, (now_ms,))
    if connection.execute(_COUNT).get >= MAX_PAIRINGS:
        return False
    connection.execute(_ADD, attrs.astuple(pairing))
    append_acts(acts, connection)
    return True


def _remove(code_hashes: Sequence[bytes], connection: Transaction) -> None:
    for code_hash in code_hashes:
        connection.execute(_REMOVE, (code_hash,))


def _redeem(
    pairing: Pairing,
    device: DeviceRow,
    key_hash: bytes,
    is_good: Callable[[], bool],
    acts: Sequence[Act],
    connection: Transaction,
) -> bool:
    if not is_good():
        return False
    connection.execute(_TAKE, (pairing.code_hash, device.created_at_ms))
    if connection.changes() == 0:
        return False
    add_device(device, key_hash, pairing.made_by, connection)
    append_acts(acts, connection)
    return True
