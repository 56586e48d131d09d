"""Web Push: a card, encrypted for one browser, to that browser's push service.

RFC 8291 encrypts it, so the service reads nothing, and RFC 8292 signs it with the server's key. The JSON is declarative
(`web_push`: 8030): Safari shows it even if the page's worker fails. Other browsers hand it to the worker.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from actors.ports import Clock
from storage.tables.notifications.channels import Channel
from transport.push.senders.sending import Card, ServiceAnswer
from transport.push.senders.services import Services

__all__ = ["MAX_PLAIN", "WebPush", "encode_card", "key_of", "public_key", "seal", "signed_token", "unpadded"]

MAX_PLAIN: Final = 3993
"""Bytes of a card: a push service takes 4,096 with what encryption adds."""

PAD_BYTES: Final = 1024
"""Cards are padded to multiples of this, so that their size says nothing."""

TOKEN_S: Final = 12 * 3600
RECORD_BYTES: Final = 4096
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the curve P-256."""


def unpadded(data: bytes) -> str:
    """Return Base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key_of(secret: str) -> ec.EllipticCurvePrivateKey:
    """Return the key of a secret in hex."""
    return ec.derive_private_key(1 + int(secret, 16) % (_ORDER - 1), ec.SECP256R1())


def public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public half of a key, as an uncompressed point."""
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def _derived(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def seal(
    plain: bytes,
    p256dh: bytes,
    auth: bytes,
    *,
    pad_to: int = 0,
    own: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """Encrypt for one browser (RFC 8291, `aes128gcm`).

    Args:
        p256dh, auth: the browser's keys.
        pad_to: the least length before encryption.
        own, salt: for tests; made at random otherwise.
    """
    own = own or ec.generate_private_key(ec.SECP256R1())
    salt = salt or AESGCM.generate_key(128)
    mine = public_key(own)
    theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), p256dh)
    shared = _derived(auth, own.exchange(ec.ECDH(), theirs), b"WebPush: info\0" + p256dh + mine, 32)
    key = _derived(salt, shared, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(salt, shared, b"Content-Encoding: nonce\0", 12)
    padded = plain + b"\2" + b"\0" * max(0, pad_to - len(plain))
    return (
        salt + struct.pack("!IB", RECORD_BYTES, len(mine)) + mine + AESGCM(key).encrypt(nonce, padded, None)
    )


def signed_token(key: ec.EllipticCurvePrivateKey, claims: dict[str, Any], header: dict[str, str]) -> str:
    """Return a JSON web token, signed with ES256."""
    parts = orjson.dumps({"typ": "JWT", "alg": "ES256", **header}), orjson.dumps(claims)
    text = ".".join(map(unpadded, parts))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{unpadded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def encode_card(card: Card, channel: Channel) -> bytes:
    """Return the JSON of a card: one form for all browsers."""
    data = {
        "alert_id": card.alert_id,
        "kind": card.kind,
        "session_id": card.session_id,
        "buttons": card.buttons,
        "repeat": card.repeat,
        "channel": channel.channel_id,
    }
    if card.request_id is not None:
        data["request_id"] = card.request_id
    place = f"#/s/{card.session_id}" if card.session_id else "#/"
    notification = {
        "title": card.title,
        "body": card.body,
        "navigate": f"{channel.origin}/{place}",
        "tag": f"a-{card.alert_id}",
        "silent": card.settled,
        "app_badge": card.badge,
    }
    return orjson.dumps({"web_push": 8030, "mutable": True, "notification": notification, "data": data})


@attrs.frozen
class WebPush:
    """Sends cards to browsers.

    Attributes:
        contact: how a push service reaches the one who runs this server; None: the page's own address.
    """

    services: Services
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)
    clock: Clock
    contact: str | None = None

    async def send(self, channel: Channel, card: Card) -> ServiceAnswer:
        """Implements `transport.push.senders.sending.Sender`."""
        plain = encode_card(card, channel)
        if len(plain) > MAX_PLAIN:
            return ServiceAnswer(413, "the card is too long")
        keys = orjson.loads(channel.keys)
        pad_to = min(-(-len(plain) // PAD_BYTES) * PAD_BYTES, MAX_PLAIN)
        try:
            body = seal(plain, _bytes_of(keys["p256dh"]), _bytes_of(keys["auth"]), pad_to=pad_to)
        except ValueError:
            return ServiceAnswer(400, "the keys of this browser are not valid")
        return await self.services.request("POST", channel.address, self._headers(channel, card), body)

    def _headers(self, channel: Channel, card: Card) -> dict[str, str]:
        endpoint = urlsplit(channel.address)
        claims = {
            "aud": f"{endpoint.scheme}://{endpoint.netloc}",
            "exp": self.clock() // 1000 + TOKEN_S,
            "sub": self.contact or channel.origin,
        }
        token = signed_token(self.key, claims, {})
        return {
            "Host": endpoint.netloc,
            "TTL": str(card.ttl_s),
            "Urgency": card.urgency,
            "Topic": card.alert_id[:32],
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/notification+json",
            "Authorization": f"vapid t={token}, k={unpadded(public_key(self.key))}",
        }
