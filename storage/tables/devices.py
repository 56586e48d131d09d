"""The holders of keys: devices and the labels that they use. Only hashes are stored, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256

import attrs
import trio

from storage.errors import DeviceExists, DeviceRevoked
from storage.tables.audit import append_acts
from storage.tables.hash_chain import Act
from storage.tables.revocations import Revocations, end_what_it_opened
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["FIRST_DEVICE", "SYSTEM_LABELS", "DeviceRow", "DeviceTable", "add_device", "hash_of"]

FIRST_DEVICE = "first"
"""The fixed id of the device whose key lies in the data folder."""

LABELS_PER_DEVICE = 10_000
"""Labels that one key may ever use: a key that invents a new label for each attach must not fill the disk."""

SYSTEM_LABELS = frozenset({"time-limit", "desk", "system", "server", "local"})
"""Names that this program signs decisions and messages with, or may use later: a device cannot take one of these."""

CACHED_LABELS = 10_000
"""Labels whose owner is kept in memory. Beyond it the cache is emptied."""

_ALL = "SELECT id, name, scope, created_at_ms, revoked_at_ms, key_hash FROM device ORDER BY created_at_ms, id"
_ADD = """
INSERT INTO device (id, name, scope, key_hash, created_at_ms, person)
VALUES (?1, ?2, ?3, ?4, ?5, coalesce((SELECT person FROM device WHERE id = ?6), 'owner'))
ON CONFLICT (id) DO NOTHING
"""
_FIRST = """
INSERT INTO device (id, name, scope, key_hash, created_at_ms) VALUES (?, 'first device', 'admin', ?, ?)
ON CONFLICT (id) DO UPDATE SET key_hash = excluded.key_hash, revoked_at_ms = NULL
"""
_IS_REVOKED = "SELECT 1 FROM device WHERE id = ? AND revoked_at_ms IS NOT NULL"
_HAS_FIRST = "SELECT count(*) FROM device WHERE id = ?"
_OWNER = "SELECT device_id FROM label WHERE label = ?"
_LABELS = "SELECT count(*) FROM label WHERE device_id = ?"
_CLAIM = "INSERT INTO label (label, device_id) VALUES (?, ?) ON CONFLICT (label) DO NOTHING"


@attrs.frozen
class DeviceRow:
    """A holder of a key. `revoked_at_ms` is None while the key is valid."""

    id: str
    name: str
    scope: str
    created_at_ms: int
    revoked_at_ms: int | None


@attrs.define(eq=False)
class DeviceTable:
    """All devices, held in memory. Call `load` first.

    An added device is stored before it counts. A revocation counts at once, and `revocations.run` stores it as soon as
    the disk accepts it.
    """

    _writer: TableWriter
    _readers: TableReaders
    revocations: Revocations = attrs.field(init=False)
    _devices: dict[str, tuple[DeviceRow, bytes]] = attrs.field(factory=dict, init=False)
    _labels: dict[str, str] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.revocations = Revocations(self._writer)

    async def load(self) -> None:
        """Read all devices again."""
        rows = await self._readers.all(_ALL)
        self._devices = {row[0]: (DeviceRow(*row[:5]), row[5]) for row in rows}

    async def refresh(self) -> Sequence[str]:
        """Read what other nodes changed; return the devices whose key has ended since. Raises StorageError.

        What was revoked here stays revoked, also if that is not on disk yet, unless the device has a new key.
        """
        rows = {row[0]: (DeviceRow(*row[:5]), row[5]) for row in await self._readers.all(_ALL)}
        ended: list[str] = []
        for device_id, (device, key_hash) in rows.items():
            old, old_hash = self._devices.get(device_id, (device, key_hash))
            is_same = hmac.compare_digest(old_hash, key_hash)
            if is_same and old.revoked_at_ms is not None:
                continue
            if old.revoked_at_ms is None and (not is_same or device.revoked_at_ms is not None):
                ended.append(device_id)
            self._devices[device_id] = (device, key_hash)
        return ended

    def was_revoked(self, device_id: str) -> bool:
        """Return whether there is such a device, and its key was revoked."""
        known = self._devices.get(device_id)
        return known is not None and known[0].revoked_at_ms is not None

    def list(self) -> Sequence[DeviceRow]:
        """Return all devices, revoked ones too, in the order of adding."""
        return [device for device, _ in self._devices.values()]

    def find(self, key: str) -> DeviceRow | None:
        """Return the device that has this valid key. Takes equally long for every wrong key."""
        return self.find_hash(hash_of(key))

    def find_hash(self, wanted: bytes) -> DeviceRow | None:
        """Return the device whose valid key has this hash, as `AppPairTable` stores it."""
        found = None
        for device, key_hash in self._devices.values():
            if hmac.compare_digest(wanted, key_hash) and device.revoked_at_ms is None:
                found = device
        return found

    def get(self, device_id: str) -> DeviceRow | None:
        """Return the device of this id; None if there is none, or its key was revoked."""
        known = self._devices.get(device_id)
        return None if known is None or known[0].revoked_at_ms is not None else known[0]

    async def add(
        self,
        *,
        name: str,
        scope: str,
        key: str,
        device_id: str,
        now_ms: int,
        made_by: str | None = None,
        noted: Sequence[Act] = (),
    ) -> DeviceRow:
        """Add a device. It owns the label that equals its id. `noted` goes into the audit in the same transaction.

        `made_by` is the device that asked for it. If its key was revoked meanwhile, nothing is added.

        Raises:
            DeviceRevoked: `made_by` was revoked.
            DeviceExists: the id is taken, or used as a label by another device.
            StorageUnavailable: nothing was stored.
        """
        device = DeviceRow(device_id, name, scope, now_ms, None)
        key_hash = hash_of(key)
        is_good = partial(self.is_good, made_by)
        await self._writer.submit(partial(_add, device, key_hash, is_good, noted, made_by), durable=True)
        self.admit(device, key_hash)
        return device

    def is_good(self, made_by: str | None) -> bool:
        """Return whether the maker's key is still valid; True without a maker. May be called from any thread."""
        known = None if made_by is None else self._devices.get(made_by)
        return known is None or known[0].revoked_at_ms is None

    def admit(self, device: DeviceRow, key_hash: bytes) -> None:
        """Let in a device that `add_device` stored, once that is committed."""
        self._devices[device.id] = (device, key_hash)

    async def set_first_key(self, key: str, *, now_ms: int) -> DeviceRow:
        """Make `key` the first device's key. Its older key is revoked with the codes made with it; a revoked first
        device becomes valid again.
        """
        key_hash = hash_of(key)
        await self._writer.submit(partial(_set_first, key_hash, now_ms), durable=True)
        await self.load()
        return self._devices[FIRST_DEVICE][0]

    async def add_first_key(self, key: str, *, now_ms: int) -> bool:
        """Make `key` the first device's key, unless there is one already; return whether it did."""
        is_new = await self._writer.submit(partial(_add_first, hash_of(key), now_ms), durable=True)
        await self.load()
        return is_new

    async def revoke(self, device_id: str, *, now_ms: int, noted: Sequence[Act] = ()) -> bool:
        """Revoke a device's key, and the codes that it made; `noted` goes into the audit in the same transaction.

        False if there is no such device or its key is revoked already. `revocations.stored` says whether it is on
        disk.
        """
        if not self.shut(device_id, now_ms=now_ms, noted=noted):
            await trio.lowlevel.checkpoint()
            return False
        await self.revocations.stored(device_id)
        return True

    def shut(self, device_id: str, *, now_ms: int, noted: Sequence[Act] = ()) -> bool:
        """Revoke a device's key in memory, and leave the rest to `revocations.run`. Never blocks. Returns as
        `revoke`."""
        known = self._devices.get(device_id)
        if known is None or known[0].revoked_at_ms is not None:
            return False
        self._devices[device_id] = (attrs.evolve(known[0], revoked_at_ms=now_ms), known[1])
        self.revocations.owe(device_id, now_ms, noted)
        return True

    async def claim_label(self, label: str, device_id: str) -> bool:
        """Return whether `label` belongs to this device. A label belongs forever to the first device that claimed it.

        A device owns the label that equals its id. False too if a device has used `LABELS_PER_DEVICE`, and for a name
        of the system, in any case.
        """
        await trio.lowlevel.checkpoint()
        if label.lower() in SYSTEM_LABELS:
            return False
        if label == device_id:
            return True
        owner = self._labels.get(label)
        if owner is None:
            owner = await self._writer.submit(partial(_claim, label, device_id), durable=False)
            if len(self._labels) >= CACHED_LABELS:
                self._labels.clear()
            if owner is not None:
                self._labels[label] = owner
        return owner == device_id


def hash_of(key: str) -> bytes:
    """Return the stored hash of a key or a code. Both are too random to be guessed from it."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def _add(
    device: DeviceRow,
    key_hash: bytes,
    is_good: Callable[[], bool],
    acts: Sequence[Act],
    made_by: str | None,
    connection: Transaction,
) -> None:
    if not is_good() or (made_by is not None and connection.execute(_IS_REVOKED, (made_by,)).get is not None):
        raise DeviceRevoked(device.id)
    add_device(device, key_hash, made_by, connection)
    append_acts(acts, connection)


def add_device(device: DeviceRow, key_hash: bytes, made_by: str | None, connection: Transaction) -> None:
    """Store a device, on the writer's thread, inside the caller's transaction. It is of its maker's person.

    Raises DeviceExists.
    """
    values = (device.id, device.name, device.scope, key_hash, device.created_at_ms, made_by)
    connection.execute(_ADD, values)
    if connection.changes() == 0:
        raise DeviceExists(device.id)
    connection.execute(_CLAIM, (device.id, device.id))
    if connection.changes() == 0:
        raise DeviceExists(device.id)


def _set_first(key_hash: bytes, now_ms: int, connection: Transaction) -> None:
    if connection.execute(_HAS_FIRST, (FIRST_DEVICE,)).get:
        end_what_it_opened(FIRST_DEVICE, connection)
    connection.execute(_FIRST, (FIRST_DEVICE, key_hash, now_ms))
    connection.execute(_CLAIM, (FIRST_DEVICE, FIRST_DEVICE))


def _add_first(key_hash: bytes, now_ms: int, connection: Transaction) -> bool:
    if connection.execute(_HAS_FIRST, (FIRST_DEVICE,)).get:
        return False
    _set_first(key_hash, now_ms, connection)
    return True


def _claim(label: str, device_id: str, connection: Transaction) -> str | None:
    owner = connection.execute(_OWNER, (label,)).get
    if owner is None and connection.execute(_LABELS, (device_id,)).get < LABELS_PER_DEVICE:
        connection.execute(_CLAIM, (label, device_id))
        return device_id
    return str(owner) if owner is not None else None
