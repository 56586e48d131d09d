"""`/api/notifications`: the places where a key's devices are notified, and why they were or were not."""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import orjson
from starlette.requests import Request
from starlette.responses import Response

from actors.ports import Clock
from storage.aliases import Aliases
from storage.tables.hash_chain import Act
from storage.tables.notifications.alerts import Alert
from storage.tables.notifications.channels import WANTS, Channel, NewChannel
from storage.tables.notifications.deliveries import AlertDelivery
from transport.access.audit_trail import AuditTrail
from transport.access.auth import authorize
from transport.http.requests import JsonBody, read_json
from transport.http.responses import (
    HttpError,
    JsonAnswer,
    choice_of,
    decode_cursor,
    encode_cursor,
    limit_of,
    query_of,
)
from transport.ports import Device
from transport.push.notifier import Notifier
from transport.push.senders.sending import Card
from transport.push.words import reason_of
from transport.v3.decode import is_id
from transport.v3.events import timestamp

__all__ = ["NotificationRoutes"]

MAX_TOKEN: Final = 512
MAX_PLATFORM: Final = 32
MAX_DEVICE: Final = 128
MAX_KEY: Final = 200
MAX_ORIGIN: Final = 300
MAX_CONTENT: Final = 500

_REPORTS: Final = frozenset({"shown", "clicked", "closed"})
_DEFAULT_ALERTS: Final = 50


@attrs.frozen
class NotificationRoutes:
    """The routes of notifications."""

    notifier: Notifier
    clock: Clock
    aliases: Aliases
    trail: AuditTrail

    # ---- channels ----

    async def register(self, request: Request, device: Device) -> Response:
        """Store where a device is notified: the iOS app's token, or a browser's subscription. Again is a refresh."""
        body = await read_json(request)
        platform = body.text("platform", MAX_PLATFORM, "ios")
        channel = self._browser(body, device) if platform == "web" else self._app(body, device)
        channel_id = await self.notifier.register(channel)
        if channel_id is None:
            raise HttpError(429, "too_many", "This server has too many channels for notifications already.")
        if channel_id == channel.channel_id:
            self._audit(request, device, "channel_added", channel_id)
        return JsonAnswer({"success": True, "message": "The device is registered.", "id": channel_id})

    def _app(self, body: JsonBody, device: Device) -> NewChannel:
        return NewChannel(
            channel_id=self.notifier.new_id(),
            kind="apns",
            owner=device.id,
            label=self.aliases.device(body.text("device_id", MAX_DEVICE)),
            address=body.text("device_token", MAX_TOKEN),
        )

    def _browser(self, body: JsonBody, device: Device) -> NewChannel:
        if not self.notifier.sends("web"):
            raise HttpError(
                503, "unavailable", "This server lacks the packages for notifications. Run `make install`."
            )
        label = self.aliases.device(body.text("device_id", MAX_DEVICE))
        subscription = body.table("subscription")
        endpoint = subscription.text("endpoint", 10_000)
        refusal = self.notifier.allowed.refusal(endpoint)
        if refusal is not None:
            raise HttpError(400, "bad_endpoint", f"The endpoint {refusal}.")
        keys = subscription.table("keys")
        secrets = {name: keys.text(name, MAX_KEY) for name in ("p256dh", "auth")}
        if not (_is_key(secrets["p256dh"], 65) and _is_key(secrets["auth"], 16)):
            raise HttpError(400, "bad_request", "keys must be those of a browser's subscription.")
        return NewChannel(
            channel_id=self.notifier.new_id(),
            kind="web",
            owner=device.id,
            label=label,
            address=endpoint,
            keys=orjson.dumps(secrets),
            origin=_origin(body.text("origin", MAX_ORIGIN)),
            wants=_wants(body, {}) if body.has("wants") else None,
        )

    async def listing(self, request: Request, device: Device) -> Response:
        """Return the key's own channels; with `all=1` those of all keys."""
        channels = await self.notifier.tables.channels.listing()
        if choice_of(request, "all", "0", "1") == "1":
            if not authorize(device.scope, "GET /api/notifications?all=1"):
                raise HttpError(403, "forbidden", "This key may not do that.")
        else:
            channels = [one for one in channels if one.owner == device.id]
        shown = await self.notifier.tables.deliveries.last_shown()
        quiet = self.notifier.settings.quiet
        return JsonAnswer(
            {
                "application_server_key": await self.notifier.server_key(),
                "channels": [_entry(one, shown.get(one.channel_id)) for one in channels],
                "quiet_hours": None if quiet is None else quiet.text,
            }
        )

    async def change(self, request: Request, device: Device) -> Response:
        """Change what a channel is notified."""
        channel = await self._own(request, device, or_config=True)
        body = await read_json(request)
        wants = _wants(body, channel.wants)
        await self.notifier.tables.channels.set_wants(channel.channel_id, wants)
        return JsonAnswer(_entry(attrs.evolve(channel, wants=wants), None))

    async def remove(self, request: Request, device: Device) -> Response:
        """Remove a channel."""
        channel = await self._own(request, device)
        await self.notifier.tables.channels.remove(channel.channel_id)
        self._audit(request, device, "channel_removed", channel.channel_id)
        return Response(status_code=204)

    async def test(self, request: Request, device: Device) -> Response:
        """Send a card to a channel now, and return the service's own answer."""
        channel = await self._own(request, device, or_config=True)
        engine = await self.notifier.serving(channel.kind)
        if engine is None:
            content = "This server is not set up for this kind of device."
            return JsonAnswer({"sent": False, "status": None, "content": content})
        card = Card(
            alert_id=self.notifier.new_id(),
            kind="test",
            session_id="",
            title="BuilderOS",
            body="Notifications work on this device.",
            ttl_s=60,
            urgency="high",
        )
        answer = await engine.send_test(channel, card)
        sent = answer.status is not None and 200 <= answer.status < 300
        words = " ".join(answer.text.split())[:MAX_CONTENT] or "The service said nothing more."
        return JsonAnswer({"sent": sent, "status": answer.status, "content": words})

    async def _own(self, request: Request, device: Device, *, or_config: bool = False) -> Channel:
        """Return the channel, if it is the key's own. Those of the config belong to admins (`or_config`)."""
        owners = {device.id}
        if or_config and authorize(device.scope, "GET /api/notifications?all=1"):
            owners.add("")
        for channel in await self.notifier.tables.channels.listing():
            if channel.channel_id == request.path_params["id"] and channel.owner in owners:
                return channel
        raise HttpError(404, "not_found", "There is no such channel of this key.")

    def _audit(self, request: Request, device: Device, act: str, channel_id: str) -> None:
        address: str | None = request.scope["client"][0] or None
        self.trail.note(
            Act(at_ms=self.clock(), act=act, device_id=device.id, address=address, subject=channel_id)
        )

    # ---- alerts ----

    async def seen(self, request: Request, device: Device) -> Response:
        """Take a device's report on a card."""
        body = await read_json(request)
        alert_id, what = body.text("alert_id", MAX_DEVICE), body.text("what", 16)
        if what not in _REPORTS:
            raise HttpError(400, "bad_request", "what must be shown, clicked or closed.")
        channel_id = body.text("channel", MAX_DEVICE) if body.has("channel") else None
        now_ms = self.clock()
        found = await self.notifier.tables.deliveries.seen(alert_id, device.id, channel_id, what, now_ms)
        for one in found:
            await self.notifier.tables.channels.seen(one, now_ms)
        return JsonAnswer({"ok": True})

    async def why(self, request: Request, device: Device) -> Response:
        """Return the newest alerts, and in sentences what became of each on each channel."""
        (session_id,), before = query_of(request, "session_id"), decode_cursor(request)
        if session_id is not None and not is_id(self.aliases.session(session_id)):
            raise HttpError(400, "bad_request", "session_id is not a valid id.")
        limit = limit_of(request, _DEFAULT_ALERTS)
        asked = None if session_id is None else self.aliases.session(session_id)
        found = await self.notifier.tables.deliveries.why(asked, before, limit + 1)
        channels = {one.channel_id: one for one in await self.notifier.tables.channels.listing()}
        page = found[:limit]
        alerts = [_told(alert, deliveries, channels) for alert, deliveries in page]
        last = page[-1][0] if len(found) > limit else None
        next_before = None if last is None else encode_cursor(last.raised_at_ms, last.alert_id)
        return JsonAnswer({"alerts": alerts, "next_before": next_before})


def _is_key(text: str, length: int) -> bool:
    try:
        found = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return False
    return len(found) == length and (length != 65 or found[0] == 4)


def _origin(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise HttpError(400, "bad_request", "origin must be the address of this page's server.")
    if parts.path or parts.query or parts.fragment:
        raise HttpError(400, "bad_request", "origin must be the address of this page's server.")
    return text


def _wants(body: JsonBody, before: dict[str, bool]) -> dict[str, bool]:
    wants = body.table("wants")
    return {**before, **{name: wants.flag(name) for name in WANTS if wants.has(name)}}


def _entry(channel: Channel, shown_at_ms: int | None) -> dict[str, Any]:
    return {
        "id": channel.channel_id,
        "kind": channel.kind,
        "device_id": channel.label,
        "name": channel.label,
        "wants": {name: channel.wants_kind(name) for name in WANTS},
        "state": channel.state,
        "problem": channel.problem,
        "created_at": timestamp(channel.created_at_ms),
        "last_shown_at": _time(shown_at_ms),
    }


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else timestamp(at_ms)


def _told(alert: Alert, deliveries: list[AlertDelivery], channels: dict[str, Channel]) -> dict[str, Any]:
    return {
        "alert_id": alert.alert_id,
        "session_id": alert.session_id,
        "seq": alert.seq,
        "kind": alert.kind,
        "request_id": alert.subject if alert.kind == "decision" else None,
        "raised_at": timestamp(alert.raised_at_ms),
        "settled_at": _time(alert.settled_at_ms),
        "how": alert.how,
        "by_device": alert.by_device,
        "deliveries": [_delivery(one, alert.kind, channels.get(one.channel_id)) for one in deliveries],
    }


def _delivery(delivery: AlertDelivery, kind: str, channel: Channel | None) -> dict[str, Any]:
    return {
        "channel": delivery.channel_id,
        "kind": None if channel is None else channel.kind,
        "device_id": None if channel is None else channel.label,
        "state": delivery.state,
        "reason": delivery.reason,
        "content": reason_of(delivery, kind),
        "sent_at": _time(delivery.sent_at_ms),
        "shown_at": _time(delivery.shown_at_ms),
        "acted_at": _time(delivery.acted_at_ms),
        "withdrawn_at": _time(delivery.withdrawn_at_ms),
        "status": delivery.status,
    }
