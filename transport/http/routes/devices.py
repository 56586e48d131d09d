"""`/api/devices`: whoever holds a key. A key is told once, to whoever made it, and kept as a hash."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.errors import DeviceRevoked
from storage.tables.devices import FIRST_DEVICE, Devices
from storage.tables.hash_chain import Act
from transport.facilities import Facilities, Port
from transport.http.requests import JsonBody, read_json
from transport.http.responses import HttpError, JsonAnswer, limit_of
from transport.ports import Device
from transport.v3.events import timestamp

__all__ = ["FIRST_STAYS", "MAX_NAME", "DeviceRoutes", "act_of", "check_room", "scope_of"]

MAX_NAME: Final = 100
MAX_DEVICES: Final = 1000
"""Keys that are good at once: each request is compared with all of them."""

FIRST_STAYS: Final = "The first device's key lies in the data folder; a new BUILDEROS_API_KEY ends it."
"""So there is always one device that may do everything: nobody locks himself out."""

_SCOPES: Final = ("view", "approve", "drive", "admin")


@attrs.frozen
class DeviceRoutes:
    """See the module."""

    facilities: Facilities
    port: Port
    clock: Clock

    async def listing(self, request: Request, _: Device) -> Response:
        """The devices whose keys are good, by age. All of them where no `limit` is asked for: there are not many."""
        limit, after = limit_of(request, MAX_DEVICES), request.query_params.get("after")
        known = self.facilities.devices.list()
        if after is not None:
            places = [number for number, one in enumerate(known) if one.id == after]
            if not places:
                raise HttpError(400, "bad_request", "after is no cursor of this list.")
            known = known[places[0] + 1 :]
        good = [one for one in known if one.revoked_at_ms is None]
        shown = [
            {"id": one.id, "name": one.name, "scope": one.scope, "created_at": timestamp(one.created_at_ms)}
            for one in good[:limit]
        ]
        return JsonAnswer({"devices": shown, "next_after": shown[-1]["id"] if len(good) > limit else None})

    async def add(self, request: Request, by: Device) -> Response:
        """Make a device and its key."""
        body = await read_json(request)
        name, scope = body.text("name", MAX_NAME), scope_of(body)
        devices = self.facilities.devices
        check_room(devices)
        key, device_id = self.facilities.new_key(), self.facilities.new_id()
        now_ms = self.clock()
        act = act_of(request, by, "device_added", now_ms, device_id)
        try:
            made = await devices.add(
                name=name,
                scope=scope,
                key=key,
                device_id=device_id,
                now_ms=now_ms,
                made_by=by.id,
                noted=[act],
            )
        except DeviceRevoked:
            raise HttpError(401, "unauthorized", "A valid key is needed.") from None
        await self.facilities.audit.note_head()
        answer = {"id": made.id, "key": key, "name": made.name, "scope": made.scope}
        return JsonAnswer(answer, headers={"Cache-Control": "no-store"})

    async def revoke(self, request: Request, by: Device) -> Response:
        """End a device's key, and its connections."""
        device_id = request.path_params["id"]
        if device_id == FIRST_DEVICE:
            raise HttpError(409, "first_device", FIRST_STAYS)
        now_ms = self.clock()
        act = act_of(request, by, "revoked", now_ms, device_id)
        if not await self.facilities.devices.revoke(device_id, now_ms=now_ms, noted=[act]):
            raise HttpError(404, "not_found", "There is no such device.")
        self.port.close_device(device_id)
        await self.facilities.audit.note_head()
        return JsonAnswer({"ok": True, "id": device_id})


def act_of(request: Request, by: Device, act: str, now_ms: int, subject: str | None = None) -> Act:
    """Return a device's act over HTTP, for the audit."""
    address: str = request.scope["client"][0]
    return Act(at_ms=now_ms, act=act, device_id=by.id, address=address or None, subject=subject)


def scope_of(body: JsonBody, default: str | None = None) -> str:
    """Return the scope that a body asks for. Raises HttpError."""
    scope = body.text("scope", MAX_NAME) if default is None or body.has("scope") else default
    if scope not in _SCOPES:
        raise HttpError(400, "bad_request", f"scope must be one of {', '.join(_SCOPES)}.")
    return scope


def check_room(devices: Devices) -> None:
    """Refuse a device more than there may be. Raises HttpError."""
    if sum(one.revoked_at_ms is None for one in devices.list()) >= MAX_DEVICES:
        raise HttpError(429, "too_many", f"There are {MAX_DEVICES} devices already.")
