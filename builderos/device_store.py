"""The command `devices` works on one of these: a running server, or the data folder if no server runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from builderos.client.state import RefusedError
from builderos.client.wire.http import call
from builderos.client.wire.server import LinkLostError, Server
from builderos.ids import new_code, new_id, new_key, wall_clock_ms
from builderos.server.startup import ensure_admin_key
from storage.data_folder import DataFolder, open_data_folder, read_boot_id
from storage.errors import StorageUnavailable
from storage.store import Store, open_store
from storage.tables import devices as stored
from storage.tables.hash_chain import Act
from storage.tables.pairings import MAX_PAIRINGS, PAIRING_MS, Pairing
from transport.http.routes.devices import FIRST_STAYS
from transport.v3.events import timestamp

__all__ = [
    "DeviceList",
    "FolderDevices",
    "Known",
    "Made",
    "PairingLink",
    "ServerDevices",
    "open_folder_devices",
]


@attrs.frozen
class Known:
    """A device whose key is valid."""

    id: str
    name: str
    scope: str
    created_at: str


@attrs.frozen
class Made:
    """A new device."""

    id: str
    key: str = attrs.field(repr=False)


@attrs.frozen
class PairingLink:
    """A pairing code. `url`: its link with the server's own address; None if the address is not known."""

    code: str = attrs.field(repr=False)
    url: str | None = attrs.field(repr=False)
    expires_at: str


class DeviceList(Protocol):
    """The holders of keys. All methods raise RefusedError, LinkLostError or StorageError."""

    async def known(self) -> Sequence[Known]:
        """Return the devices whose keys are valid."""
        ...

    async def add(self, name: str, scope: str) -> Made:
        """Add a device."""
        ...

    async def pair(self, name: str | None, scope: str) -> PairingLink:
        """Make a pairing code."""
        ...

    async def revoke(self, device_id: str) -> bool:
        """Revoke a device's key; return whether that is on disk. Raises RefusedError, StorageUnavailable."""
        ...


@attrs.frozen
class ServerDevices:
    """The devices of a running server."""

    server: Server

    async def known(self) -> Sequence[Known]:
        """Implements `DeviceList`."""
        found = (await self._call("GET", "/api/devices")).get("devices")
        names = [field.name for field in attrs.fields(Known)]
        return [
            Known(*(str(device.get(name)) for name in names))
            for device in found or ()
            if isinstance(device, dict)
        ]

    async def add(self, name: str, scope: str) -> Made:
        """Implements `DeviceList`."""
        answer = await self._call("POST", "/api/devices", {"name": name, "scope": scope})
        return Made(_text(answer, "id"), _text(answer, "key"))

    async def pair(self, name: str | None, scope: str) -> PairingLink:
        """Implements `DeviceList`."""
        answer = await self._call("POST", "/api/devices/pair", {"name": name, "scope": scope})
        return PairingLink(_text(answer, "code"), _text(answer, "url"), _text(answer, "expires_at"))

    async def revoke(self, device_id: str) -> bool:
        """Implements `DeviceList`. The caller checks `device_id`, because it becomes part of the address."""
        answer = await self._call("DELETE", f"/api/devices/{device_id}")
        return answer.get("stored") is not False

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        return await trio.to_thread.run_sync(call, self.server, method, path, body)


def _text(answer: Mapping[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise LinkLostError(f"the server's answer has no {name}")
    return value


@attrs.frozen
class FolderDevices:
    """The devices of a data folder that this process holds."""

    store: Store
    folder: DataFolder
    first_key: str | None = attrs.field(repr=False)

    async def known(self) -> Sequence[Known]:
        """Implements `DeviceList`."""
        await trio.lowlevel.checkpoint()
        return [
            Known(device.id, device.name, device.scope, timestamp(device.created_at_ms))
            for device in self.store.devices.list()
            if device.revoked_at_ms is None
        ]

    async def add(self, name: str, scope: str) -> Made:
        """Implements `DeviceList`."""
        made = Made(new_id(), new_key())
        await self.store.devices.add(
            name=name,
            scope=scope,
            key=made.key,
            device_id=made.id,
            now_ms=wall_clock_ms(),
            noted=[_act("device_added", made.id)],
        )
        await self.store.audit.note_head()
        return made

    async def pair(self, name: str | None, scope: str) -> PairingLink:
        """Implements `DeviceList`. The code belongs to the first device, whose key is created if there is none yet."""
        await ensure_admin_key(self.store, self.folder, self.first_key)
        code, now_ms = new_code(), wall_clock_ms()
        pairing = Pairing(b"", name, scope, stored.FIRST_DEVICE, now_ms + PAIRING_MS)
        acts = [_act("pairing_opened", None)]
        if not await self.store.pairings.open(code, pairing, now_ms=now_ms, noted=acts):
            raise RefusedError("too_many", f"{MAX_PAIRINGS} codes are open already")
        await self.store.audit.note_head()
        return PairingLink(code, None, timestamp(pairing.expires_at_ms))

    async def revoke(self, device_id: str) -> bool:
        """Implements `DeviceList`."""
        if device_id == stored.FIRST_DEVICE:
            raise RefusedError("first_device", FIRST_STAYS)
        acts = [_act("revoked", device_id)]
        devices = self.store.devices
        if not await devices.revoke(device_id, now_ms=wall_clock_ms(), noted=acts):
            raise RefusedError("not_found", "There is no such device.")
        if not await devices.revocations.stored(device_id):
            raise StorageUnavailable(
                f"{self.folder.path}: the disk cannot be written, so {device_id} is not revoked"
            )
        await self.store.audit.note_head()
        return True

    async def note(self, act: str) -> None:
        """Note in the audit what was done on this machine. Raises StorageError."""
        await self.store.audit.append([_act(act, None)])


def _act(act: str, subject: str | None) -> Act:
    """Return an act of the first device: its key lies in the data folder, so anyone who can read that folder holds
    it."""
    return Act(
        at_ms=wall_clock_ms(), act=act, device_id=stored.FIRST_DEVICE, address="local", subject=subject
    )


@asynccontextmanager
async def open_folder_devices(data: Path, first_key: str | None) -> AsyncIterator[FolderDevices]:
    """Hold the data folder and open its database while inside the block; create both if they are missing.

    Errors of the block are raised in a group.

    Raises:
        StorageLocked: another process holds it.
        StorageError: it cannot be opened.
    """
    with open_data_folder(data) as folder:
        async with open_store(folder.database_path, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
            yield FolderDevices(store, folder, first_key)
