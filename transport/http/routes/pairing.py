"""Pairing: a device gets a key of its own by a code that is good once, for ten minutes.

`POST /api/devices/pair` makes a code, the link that carries it and a picture of the link; `POST /api/pair` uses it
up. The key itself never travels in a link: it is told to whoever brings the code first, and to nobody twice.
"""

from __future__ import annotations

from typing import Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.tables import devices as stored
from storage.tables.pairings import MAX_PAIRINGS, Pairing
from transport.facilities import Facilities
from transport.http.requests import JsonBody, read_json
from transport.http.responses import HttpError, JsonAnswer
from transport.http.routes.devices import MAX_NAME, act_of, check_room, scope_of
from transport.http.routes.qr_code import svg_code
from transport.ports import Device
from transport.signed_urls import base_url
from transport.v3.events import timestamp

__all__ = ["PAIRING_MS", "PairingRoutes"]

PAIRING_MS: Final = 10 * 60 * 1000
"""How long a code is good."""

UNNAMED: Final = "paired device"

_SECRET: Final = {"Cache-Control": "no-store"}


@attrs.frozen
class PairingRoutes:
    """See the module."""

    facilities: Facilities
    clock: Clock

    async def make(self, request: Request, device: Device) -> Response:
        """Make a code, in the name of the device that asks: it ends with that device's key."""
        body = await read_json(request, optional=True)
        scope, name = scope_of(body, "drive"), _name(body)
        code, now_ms = self.facilities.new_code(), self.clock()
        pairing = Pairing(b"", name, scope, device.id, now_ms + PAIRING_MS)
        act = act_of(request, device, "pairing_opened", now_ms)
        if not await self.facilities.pairings.open(code, pairing, now_ms=now_ms, noted=[act]):
            text = f"{MAX_PAIRINGS} codes are open already; each ends after ten minutes."
            raise HttpError(429, "too_many", text)
        await self.facilities.audit.note_head()
        base = base_url(request.scope["scheme"], request.headers)
        url = f"{base}/#pair={code}"
        answer = {
            "code": code,
            "url": url,
            "qr": await trio.to_thread.run_sync(svg_code, url),
            "scope": scope,
            "expires_at": timestamp(pairing.expires_at_ms),
        }
        return JsonAnswer(answer, headers=_SECRET)

    async def redeem(self, request: Request, pairing: Pairing) -> Response:
        """Make the device that a good code stands for; whoever comes second gets what a wrong code gets.

        A request that is refused for anything else leaves the code good. The name that whoever made the code
        gave it stands; without one it is the device's own.
        """
        name = _name(await read_json(request, optional=True))
        check_room(self.facilities.devices)
        key, device_id = self.facilities.new_key(), self.facilities.new_id()
        named = pairing.name or name or UNNAMED
        device = stored.Device(device_id, named, pairing.scope, self.clock(), None)
        act = act_of(request, device, "paired", device.created_at_ms, pairing.made_by)
        if not await self.facilities.pairings.redeem(pairing, device, key, [act]):
            raise HttpError(401, "unauthorized", "A valid key is needed.")
        await self.facilities.audit.note_head()
        answer = {"id": device.id, "key": key, "name": device.name, "scope": device.scope}
        return JsonAnswer(answer, headers=_SECRET)


def _name(body: JsonBody) -> str | None:
    return body.text("name", MAX_NAME) if body.has("name") else None
