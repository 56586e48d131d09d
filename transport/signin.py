"""Where a key may stand, and whether it opens anything (PROTOCOL sections 1 to 4). Keys are never logged."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import trio

from transport.audit_trail import AuditTrail
from transport.ports import Device, Devices
from transport.tries import SignInThrottle
from transport.v3.client_frames import AuthFrame
from transport.v3.decode import WireError, decode

__all__ = ["BadKeyError", "SignIn", "SignIns", "TooManyAttemptsError", "key_of_first_frame", "key_of_headers"]

_SCHEME = "bearer "


class BadKeyError(Exception):
    """The key is unknown, or was revoked."""


class TooManyAttemptsError(Exception):
    """There were too many wrong keys from this address; nobody is told whether this one was right."""


@attrs.define(eq=False)
class SignIns:
    """The one place where a key becomes a device: looks it up and counts what goes wrong by address."""

    devices: Devices
    tries: SignInThrottle = attrs.field(factory=SignInThrottle)
    trail: AuditTrail | None = None

    def enter(self, key: str, address: str) -> Device:
        """Return whose key this is. Never blocks.

        Raises:
            BadKeyError, TooManyTriesError: nobody's.
        """
        device = self.devices.find(key)
        self.judge(address, good=device is not None, what="key")
        assert device is not None
        if self.trail is not None:
            self.trail.signed_in(device.id, address)
        return device

    def knows(self, key: str | None) -> bool:
        """Tell whether this is a good key. Counts nothing: the answer must not reach whoever gave the key."""
        return key is not None and self.devices.find(key) is not None

    def judge(self, address: str, *, good: bool, what: str) -> None:
        """Count a key or a code that was just tried; `what` names it in the audit.

        Raises:
            BadKeyError: it was wrong.
            TooManyTriesError: it may have been.
        """
        now = trio.current_time()
        if good and self.tries.good(address, now):
            return
        if self.trail is not None:
            self.trail.failed(address, what)
        if good or not self.tries.wrong(address, now):
            raise TooManyAttemptsError
        raise BadKeyError


@attrs.frozen
class SignIn:
    """One connection's way in: where it comes from, and the key that its head brought, if any."""

    sign_ins: SignIns
    address: str
    key: str | None = attrs.field(repr=False)

    def enter(self, key: str) -> Device:
        """Return whose key this is. Raises BadKeyError, TooManyTriesError."""
        return self.sign_ins.enter(key, self.address)

    def returned(self, device: Device | None) -> None:
        """Note that the shipped app came back without a key, or tried to."""
        trail = self.sign_ins.trail
        if trail is None:
            return
        if device is None:
            trail.failed(self.address, "app")
        else:
            trail.signed_in(device.id, self.address, "returned")


def key_of_headers(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key of a request, None without one. Header names must be in lower case.

    It stands in `X-API-Key`, `Authorization: Bearer` or a bare `Authorization`.
    """
    found: str | None = None
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization":
            text = value.decode("latin-1").strip()
            found = text[len(_SCHEME) :].strip() if text.lower().startswith(_SCHEME) else text
    return found


def key_of_first_frame(message: str | bytes) -> str | None:
    """Return the key that a connection's first frame brings; None where it is no frame that could."""
    if isinstance(message, bytes):
        return None
    try:
        frame = decode(message)
    except WireError:
        return None
    return frame.token if isinstance(frame, AuthFrame) else None
