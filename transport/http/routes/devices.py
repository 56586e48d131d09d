"""`/api/devices` and pairing: lists the holders of keys, and gives a new device its key.

A key is returned once, to the one who creates it, and stored as a hash. `POST /api/devices/pair` creates a pairing
code, the link that carries it and a QR code of the link. `POST /api/pair` exchanges the code for a key, once, within
ten minutes. A key never travels in a link.
"""

from __future__ import annotations

import io
from typing import Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.errors import DeviceRevoked
from storage.tables import devices as stored
from storage.tables.devices import FIRST_DEVICE, DeviceTable
from storage.tables.hash_chain import Act
from storage.tables.pairings import MAX_PAIRINGS, PAIRING_MS, Pairing
from transport.access.signed_urls import base_url
from transport.http.reachable import MAX_ORIGIN, is_answered, origin_of
from transport.http.requests import JsonBody, read_json
from transport.http.responses import HttpError, JsonAnswer, limit_of, query_of
from transport.http.services import HttpServices, Port
from transport.ports import SCOPES, Device
from transport.v3.events import timestamp

__all__ = [
    "FIRST_STAYS",
    "MAX_NAME",
    "DeviceRoutes",
    "PairingRoutes",
    "act_of",
    "check_room",
    "scope_of",
    "svg_code",
]

MAX_NAME: Final = 100
MAX_DEVICES: Final = 1000
"""Valid keys at once: each request is compared with all of them."""

FIRST_STAYS: Final = "The first device cannot be revoked. A new BUILDEROS_API_KEY replaces its key."
"""The reason why the first device cannot be revoked. So one device keeps all rights, and you cannot lock yourself
out."""


@attrs.frozen
class DeviceRoutes:
    """The routes of devices."""

    services: HttpServices
    port: Port
    clock: Clock

    async def listing(self, request: Request, _: Device) -> Response:
        """Return the devices with valid keys, by age. All of them if no `limit` is given: there are few."""
        limit, (after,) = limit_of(request, MAX_DEVICES), query_of(request, "after")
        known = self.services.devices.list()
        if after is not None:
            places = [number for number, device in enumerate(known) if device.id == after]
            if not places:
                raise HttpError(400, "bad_request", "`after` is not a valid cursor for this list.")
            known = known[places[0] + 1 :]
        good = [device for device in known if device.revoked_at_ms is None]
        entries = [
            {
                "id": device.id,
                "name": device.name,
                "scope": device.scope,
                "created_at": timestamp(device.created_at_ms),
            }
            for device in good[:limit]
        ]
        return JsonAnswer(
            {"devices": entries, "next_after": entries[-1]["id"] if len(good) > limit else None}
        )

    async def add(self, request: Request, by: Device) -> Response:
        """Add a device and its key."""
        body = await read_json(request)
        name, scope = body.text("name", MAX_NAME), scope_of(body)
        devices = self.services.devices
        check_room(devices)
        key, device_id = self.services.new_key(), self.services.new_id()
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
        await self.services.audit.note_head()
        answer = {"id": made.id, "key": key, "name": made.name, "scope": made.scope}
        return JsonAnswer(answer, headers={"Cache-Control": "no-store"})

    async def revoke(self, request: Request, by: Device) -> Response:
        """Revoke a device's key, and close its connections.

        That takes effect at once, whatever the disk does. `stored`: it is on disk too; if not, the server keeps trying.
        """
        device_id = request.path_params["id"]
        if device_id == FIRST_DEVICE:
            raise HttpError(409, "first_device", FIRST_STAYS)
        now_ms = self.clock()
        act = act_of(request, by, "revoked", now_ms, device_id)
        devices = self.services.devices
        if not devices.shut(device_id, now_ms=now_ms, noted=[act]):
            raise HttpError(404, "not_found", "There is no such device.")
        if by.id == device_id:
            request.scope["builderos.spare"]()
        self.port.close_device(device_id)
        stored = await devices.revocations.stored(device_id)
        if stored:
            await self.services.audit.note_head()
        return JsonAnswer({"ok": True, "id": device_id, "stored": stored})


def act_of(request: Request, by: Device, act: str, now_ms: int, subject: str | None = None) -> Act:
    """Return a device's act over HTTP, for the audit."""
    address: str = request.scope["client"][0]
    return Act(at_ms=now_ms, act=act, device_id=by.id, address=address or None, subject=subject)


def scope_of(body: JsonBody, default: str | None = None) -> str:
    """Return the scope that a body asks for. Raises HttpError."""
    scope = body.text("scope", MAX_NAME) if default is None or body.has("scope") else default
    if scope not in SCOPES:
        raise HttpError(400, "bad_request", f"scope must be one of {', '.join(SCOPES)}.")
    return scope


def check_room(devices: DeviceTable) -> None:
    """Refuse a device beyond the limit. Raises HttpError."""
    if sum(device.revoked_at_ms is None for device in devices.list()) >= MAX_DEVICES:
        raise HttpError(429, "too_many", f"There are {MAX_DEVICES} devices already. Revoke one first.")


UNNAMED: Final = "paired device"

_SECRET: Final = {"Cache-Control": "no-store"}


@attrs.frozen
class PairingRoutes:
    """The routes of pairing."""

    services: HttpServices
    clock: Clock

    async def make(self, request: Request, device: Device) -> Response:
        """Create a code in the name of the device that asks: it ends with that device's key.

        `url` in the body is the address that the other device will use. `reached` in the answer says whether this
        server can reach it.
        """
        body = await read_json(request, optional=True)
        scope, name = scope_of(body, "drive"), _name(body)
        own = base_url(request.scope["scheme"], request.headers)
        base = _base(body) or own
        code, now_ms = self.services.new_code(), self.clock()
        pairing = Pairing(b"", name, scope, device.id, now_ms + PAIRING_MS)
        act = act_of(request, device, "pairing_opened", now_ms)
        if not await self.services.pairings.open(code, pairing, now_ms=now_ms, noted=[act]):
            text = f"{MAX_PAIRINGS} codes are open already. Each expires after ten minutes."
            raise HttpError(429, "too_many", text)
        await self.services.audit.note_head()
        url = f"{base}/#pair={code}"
        answer: dict[str, str | bool] = {
            "code": code,
            "url": url,
            "qr": await trio.to_thread.run_sync(svg_code, url),
            "scope": scope,
            "expires_at": timestamp(pairing.expires_at_ms),
        }
        if base != own:
            answer["reached"] = await is_answered(base)
        return JsonAnswer(answer, headers=_SECRET)

    async def redeem(self, request: Request, pairing: Pairing) -> Response:
        """Create the device of a valid code. A second request with the code gets the same answer as for a wrong code.

        A request that is refused for another reason leaves the code valid. The name from the code's creator wins;
        without one the device's own name is used.
        """
        name = _name(await read_json(request, optional=True))
        check_room(self.services.devices)
        key, device_id = self.services.new_key(), self.services.new_id()
        named = pairing.name or name or UNNAMED
        device = stored.DeviceRow(device_id, named, pairing.scope, self.clock(), None)
        act = act_of(request, device, "paired", device.created_at_ms, pairing.made_by)
        if not await self.services.pairings.redeem(pairing, device, key, [act]):
            raise HttpError(401, "unauthorized", "A valid key is needed.")
        await self.services.audit.note_head()
        answer = {"id": device.id, "key": key, "name": device.name, "scope": device.scope}
        return JsonAnswer(answer, headers=_SECRET)


def _base(body: JsonBody) -> str | None:
    """Return the address that the other device will use, if one was given. Raises HttpError."""
    if not body.has("url"):
        return None
    origin = origin_of(body.text("url", MAX_ORIGIN))
    if origin is None:
        raise HttpError(400, "bad_request", "url must be an address like https://HOST or http://HOST:PORT.")
    return origin


def _name(body: JsonBody) -> str | None:
    return body.text("name", MAX_NAME) if body.has("name") else None


BORDER: Final = 4
"""White modules around the code, as the standard requires."""


def svg_code(text: str) -> str:
    """Return an SVG document of a QR code for `text`, black on white, without a size of its own."""
    import segno  # takes time to load, and only pairing needs it

    picture = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(picture, kind="svg", xmldecl=False, omitsize=True, border=BORDER, light="#fff", dark="#000")
    return picture.getvalue().decode()
