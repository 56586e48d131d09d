"""Finds the key in a request or a frame, and checks it (PROTOCOL sections 1 to 4). Keys are never logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs
import trio

from transport.access.attempts import SignInThrottle
from transport.access.audit_trail import AuditTrail
from transport.ports import Device, Devices
from transport.v3.client_frames import AuthFrame
from transport.v3.decode import WireError, decode

__all__ = [
    "KEYS_UNKNOWN",
    "BadKeyError",
    "SignIn",
    "SignIns",
    "TooManyAttemptsError",
    "key_of_first_frame",
    "key_of_headers",
]

_SCHEME = "bearer "

KEYS_UNKNOWN: Final = "This machine does not reach the database, so keys cannot be checked. Try again."


class BadKeyError(Exception):
    """The key is unknown, or was revoked."""


class TooManyAttemptsError(Exception):
    """Too many wrong keys came from this address; the answer does not reveal whether this one was right."""


@attrs.define(eq=False)
class SignIns:
    """Turns keys into devices: looks each key up and counts the wrong ones by address."""

    devices: Devices
    tries: SignInThrottle
    trail: AuditTrail

    def enter(self, key: str, address: str) -> Device:
        """Return the device of this key. Never blocks.

        Raises:
            BadKeyError, TooManyAttemptsError: it is not valid, or not checked.
        """
        device = self.devices.find(key)
        self.judge(address, good=device is not None, what="key")
        assert device is not None
        self.trail.signed_in(device.id, address)
        return device

    def knows(self, key: str | None) -> bool:
        """Return whether this is a valid key. Counts nothing: the answer must not reach the client."""
        return key is not None and self.devices.find(key) is not None

    def judge(self, address: str, *, good: bool, what: str) -> None:
        """Count a key or a code that was just tried; `what` names it in the audit.

        Raises:
            BadKeyError: it was wrong.
            TooManyAttemptsError: it may have been.
        """
        now = trio.current_time()
        if good and self.tries.good(address, now):
            return
        self.trail.failed(address, what)
        if good or not self.tries.wrong(address, now):
            raise TooManyAttemptsError
        raise BadKeyError


@attrs.frozen
class SignIn:
    """One connection's sign-in: its address, and the key of its head, if any."""

    sign_ins: SignIns
    address: str
    key: str | None = attrs.field(repr=False)

    def enter(self, key: str) -> Device:
        """Return the device of this key. Raises BadKeyError, TooManyAttemptsError."""
        return self.sign_ins.enter(key, self.address)

    def returned(self, device: Device | None) -> None:
        """Record that the iOS app reconnected without a key, or tried to."""
        trail = self.sign_ins.trail
        if device is None:
            trail.failed(self.address, "app")
        else:
            trail.signed_in(device.id, self.address, "returned")


def key_of_headers(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key of a request; None without one. Header names must be in lower case.

    It may be in `X-API-Key`, `Authorization: Bearer` or a bare `Authorization`.
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
    """Return the key in a connection's first frame; None if the frame cannot have one."""
    if isinstance(message, bytes):
        return None
    try:
        frame = decode(message)
    except WireError:
        return None
    return frame.token if isinstance(frame, AuthFrame) else None
