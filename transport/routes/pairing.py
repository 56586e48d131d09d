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
from storage import devices as stored
from storage.pairings import MAX_PAIRINGS, Pairing
from transport.events_v3 import timestamp
from transport.facilities import Facilities
from transport.http_answers import HttpError, JsonAnswer
from transport.links import base_url
from transport.ports import Device
from transport.qr_code import svg_code
from transport.reachable import MAX_ORIGIN, is_answered, origin_of
from transport.routes.bodies import JsonBody, read_json
from transport.routes.devices import MAX_NAME, act_of, check_room, scope_of

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
        """Make a code, in the name of the device that asks: it ends with that device's key.

        `url` in the body is the address that the other device will use; `reached` in the answer then tells whether
        it answers, as seen from here.
        """
        body = await read_json(request, optional=True)
        scope, name = scope_of(body, "drive"), _name(body)
        own = base_url(request.scope["scheme"], request.headers)
        base = _base(body) or own
        code, now_ms = self.facilities.new_code(), self.clock()
        pairing = Pairing(b"", name, scope, device.id, now_ms + PAIRING_MS)
        act = act_of(request, device, "pairing_opened", now_ms)
        if not await self.facilities.pairings.open(code, pairing, now_ms=now_ms, noted=[act]):
            text = f"{MAX_PAIRINGS} codes are open already; each ends after ten minutes."
            raise HttpError(429, "too_many", text)
        await self.facilities.audit.note_head()
        url = f"{base}/#pair={code}"
        answer = {
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
