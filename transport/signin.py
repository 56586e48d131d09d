"""Where a key may stand, and the sign-in of a WebSocket (PROTOCOL sections 2, 3). Keys are never logged."""

from __future__ import annotations

from collections.abc import Iterable

from transport.client_frames import AuthFrame
from transport.ports import Device, Devices
from transport.wire_v3 import WireError, decode

__all__ = ["device_of_first_frame", "key_of_headers"]

_SCHEME = "bearer "


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


def device_of_first_frame(message: str | bytes, devices: Devices) -> Device | None:
    """Return the device that a connection's first frame signs in; None where it does not."""
    if isinstance(message, bytes):
        return None
    try:
        frame = decode(message)
    except WireError:
        return None
    return devices.find(frame.token) if isinstance(frame, AuthFrame) else None
