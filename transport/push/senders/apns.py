"""Apple's push service, for the iOS app as it is shipped: it knows alerts without buttons.

Only the owner of the app's identifier has the key. A token belongs to Apple's service or to its sandbox; nothing says
to which, so the other one is tried once and remembered.
"""

from __future__ import annotations

from typing import Final

import attrs
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from actors.ports import Clock
from storage.tables.notifications.channels import Channel
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.senders.services import Services
from transport.push.senders.web_push import signed_token
from transport.push.settings import ApnsSettings

__all__ = ["Apns", "payload_of", "read_key"]

RENEW_S: Final = 40 * 60
"""Apple refuses a token that is older than an hour, and one that is made again within 20 minutes."""

MAX_REMEMBERED: Final = 1_000


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the key of an Apple key file. Raises ValueError."""
    key = load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not a key for push notifications")
    return key


def payload_of(card: Card) -> bytes:
    """Return what the shipped app reads."""
    aps: dict[str, object] = {"alert": {"title": card.title, "body": card.body}, "badge": card.badge}
    if card.settled or card.repeat:
        aps["interruption-level"] = "passive"
    else:
        aps["sound"] = "default"
    told = {"type": "new_message", "sender": card.title, "preview": card.body, "session_id": card.session_id}
    return orjson.dumps({"aps": aps, **told})


@attrs.define(eq=False)
class Apns:
    """Sends cards to the iOS app."""

    services: Services
    settings: ApnsSettings
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    clock: Clock
    _token: str = attrs.field(default="", repr=False)
    _made_at: int = 0
    _sandbox: dict[str, bool] = attrs.field(factory=dict)

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`."""
        sandbox = self._sandbox.get(channel.channel_id, False)
        answer = await self._post(sandbox, channel, card)
        if answer.status == 400 and "BadDeviceToken" in answer.text:
            other = await self._post(not sandbox, channel, card)
            if other.status == 200:
                if len(self._sandbox) >= MAX_REMEMBERED:
                    self._sandbox.clear()
                self._sandbox[channel.channel_id] = not sandbox
            return other
        return answer

    async def _post(self, sandbox: bool, channel: Channel, card: Card) -> ServiceAnswer:
        host = self.settings.hosts[sandbox]
        headers = {
            "Host": host.partition("://")[2],
            "authorization": f"bearer {self._bearer()}",
            "apns-topic": self.settings.topic,
            "apns-push-type": "alert",
            "apns-priority": "5" if card.settled else "10",
            "apns-collapse-id": card.alert_id[:64],
            "apns-expiration": str(self.clock() // 1000 + card.ttl_s),
            "content-type": "application/json",
        }
        return await self.services.request(
            "POST", f"{host}/3/device/{channel.address}", headers, payload_of(card)
        )

    def _bearer(self) -> str:
        now = self.clock() // 1000
        if not self._token or not 0 <= now - self._made_at < RENEW_S:
            claims = {"iss": self.settings.team_id, "iat": now}
            self._token = signed_token(self.key, claims, {"kid": self.settings.key_id})
            self._made_at = now
        return self._token
