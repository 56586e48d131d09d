"""The codes that close a WebSocket (PROTOCOL section 3, "Close codes"): their causes, and the device's reaction."""

from __future__ import annotations

import attrs

__all__ = [
    "APP_BAD_KEY",
    "APP_NO_SIGN_IN",
    "BAD_FRAME",
    "BAD_KEY",
    "BAD_TEXT",
    "NOT_ALLOWED",
    "NO_SIGN_IN",
    "PROTOCOL_ERROR",
    "RESTART",
    "TOO_LARGE",
    "TOO_MANY",
    "TOO_MANY_TRIES",
    "TOO_SLOW",
    "CloseCode",
]


@attrs.frozen
class CloseCode:
    """A close code and its reason, at most 123 bytes of UTF-8."""

    code: int
    reason: str


RESTART = CloseCode(1001, "the server restarts, come back")
"""The server stops. Reconnect with your position."""

BAD_FRAME = CloseCode(1002, "a frame breaks the WebSocket protocol")
"""A frame that RFC 6455 does not allow. The client is faulty: reconnecting does not help."""

BAD_TEXT = CloseCode(1007, "a text frame is not UTF-8")
"""The client is faulty: reconnecting does not help."""

TOO_LARGE = CloseCode(1009, "a frame is over 1 MiB")
"""A frame was over 1 MiB. Reconnect, but do not send it again."""

PROTOCOL_ERROR = CloseCode(4400, "ten bad frames in a row")
"""The tenth bad frame in a row. The client is faulty: reconnecting does not help."""

BAD_KEY = CloseCode(4401, "the key is not valid")
"""The key is unknown or was revoked. Ask the person for another one."""

NOT_ALLOWED = CloseCode(4403, "not allowed")
"""The key is valid but does not allow this connection. Do not reconnect."""

NO_SIGN_IN = CloseCode(4408, "no sign-in in time")
"""No key arrived in time. Reconnect and sign in at once."""

TOO_MANY = CloseCode(4429, "too many connections")
"""The server has as many connections as it accepts. Reconnect later."""

TOO_MANY_TRIES = CloseCode(4429, "too many wrong keys from this address, come back later")
"""Does not reveal whether this key was right. Reconnect in a minute."""

TOO_SLOW = CloseCode(4508, "too slow, come back with your position")
"""A write was not accepted for 60 s. The socket is cut, so the device does not read this; it is for the log."""

APP_BAD_KEY = CloseCode(1000, "the key is not valid")
"""The iOS app's first frame signed nobody in; the app got `error:invalid_api_key`."""

APP_NO_SIGN_IN = CloseCode(1000, "no sign-in in time")
"""The iOS app's unused socket: it opens two and uses one."""
