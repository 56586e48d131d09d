"""Codes that each make one device, once. Only hashes lie here; what a code opens ends by itself.

A code is as good as a key until it is used: so it lives for minutes, there are few of them, and those that a
device made end with that device's key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from functools import partial

import apsw
import attrs

from storage.sqlite.readers import Readers
from storage.sqlite.writer import Writer
from storage.tables.audit import append_acts
from storage.tables.devices import Device, Devices, add_device, hash_of
from storage.tables.hash_chain import Act

__all__ = ["MAX_PAIRINGS", "PAIRING_SCHEMA", "Pairing", "Pairings"]

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
"""Codes that are good at once: a person pairs one device after the other."""

_ALL = "SELECT code_hash, name, scope, made_by, expires_at_ms FROM pairing ORDER BY expires_at_ms"
_FORGET = "DELETE FROM pairing WHERE expires_at_ms <= ?"
_COUNT = "SELECT count(*) FROM pairing"
_ADD = "INSERT INTO pairing (code_hash, name, scope, made_by, expires_at_ms) VALUES (?, ?, ?, ?, ?)"
_TAKE = "DELETE FROM pairing WHERE code_hash = ? AND expires_at_ms > ?"


@attrs.frozen
class Pairing:
    """What a code makes. `name`: None leaves it to the device. `made_by`: whose device's code it is."""

    code_hash: bytes = attrs.field(repr=False)
    name: str | None
    scope: str
    made_by: str
    expires_at_ms: int


@attrs.define(eq=False)
class Pairings:
    """The codes that are open, held in memory. Changes are durable before they count here; `load` comes first."""

    _writer: Writer
    _readers: Readers
    _devices: Devices
    _open: dict[bytes, Pairing] = attrs.field(factory=dict, init=False)

    async def load(self) -> None:
        """Read all codes anew."""
        self._open = {row[0]: Pairing(*row) for row in await self._readers.all(_ALL)}

    def find(self, code: str, *, now_ms: int) -> Pairing | None:
        """Return what a code makes; None for one that is unknown, used or too old. Never blocks.

        Its time does not tell how near a wrong code came.
        """
        wanted, found = hash_of(code), None
        for code_hash, pairing in self._open.items():
            if hmac.compare_digest(wanted, code_hash) and self._is_good(pairing, now_ms):
                found = pairing
        return found

    async def open(self, code: str, pairing: Pairing, *, now_ms: int, noted: Sequence[Act] = ()) -> bool:
        """Make a code good; False where `MAX_PAIRINGS` are. Those that have ended are forgotten.

        `noted` goes into the audit with it.

        Raises:
            StorageUnavailable: nothing was stored.
        """
        stored = attrs.evolve(pairing, code_hash=hash_of(code))
        kept = await self._writer.submit(partial(_open, stored, now_ms, noted), durable=True)
        if kept:
            live = {key: one for key, one in self._open.items() if one.expires_at_ms > now_ms}
            self._open = {**live, stored.code_hash: stored}
        return kept

    async def redeem(self, pairing: Pairing, device: Device, key: str, noted: Sequence[Act] = ()) -> bool:
        """Use a code up for a new device; False, and nothing done, where somebody else was faster.

        Code and device change in one transaction.

        Args:
            pairing: what `find` gave.
            device: what is to be added, made now.
            key: its key.
            noted: goes into the audit with it.

        Raises:
            DeviceExists: its id is taken; the code stays good.
            StorageUnavailable: nothing was stored; the code stays good.
        """
        key_hash = hash_of(key)
        work = partial(_redeem, pairing.code_hash, device, key_hash, noted)
        if not await self._writer.submit(work, durable=True):
            return False
        self._open.pop(pairing.code_hash, None)
        self._devices.admit(device, key_hash)
        return True

    def of(self, device_id: str, *, now_ms: int) -> Sequence[Pairing]:
        """Return the codes of a device that are still good."""
        return [one for one in self._open.values() if one.made_by == device_id and self._is_good(one, now_ms)]

    def _is_good(self, pairing: Pairing, now_ms: int) -> bool:
        return pairing.expires_at_ms > now_ms and self._devices.get(pairing.made_by) is not None


def _open(pairing: Pairing, now_ms: int, noted: Sequence[Act], connection: apsw.Connection) -> bool:
    connection.execute(_FORGET, (now_ms,))
    if connection.execute(_COUNT).get >= MAX_PAIRINGS:
        return False
    connection.execute(_ADD, attrs.astuple(pairing))
    append_acts(noted, connection)
    return True


def _redeem(
    code_hash: bytes, device: Device, key_hash: bytes, noted: Sequence[Act], connection: apsw.Connection
) -> bool:
    connection.execute(_TAKE, (code_hash, device.created_at_ms))
    if connection.changes() == 0:
        return False
    add_device(device, key_hash, connection)
    append_acts(noted, connection)
    return True
