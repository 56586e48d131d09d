"""The one place of a server or terminal that makes moments, ids, keys and chance; all else is handed them."""

from __future__ import annotations

import random
import secrets
import time

__all__ = ["KEY_BYTES", "new_code", "new_id", "new_key", "new_random", "wall_clock_ms"]

ID_BYTES = 16
"""Random bytes of an id: unguessable, and never twice."""

KEY_BYTES = 32
"""Random bytes of a device's key."""

CODE_BYTES = 24
"""Random bytes of a pairing code: more than anybody guesses, and short enough for a small QR code."""


def wall_clock_ms() -> int:
    """Return milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Return a fresh id of 32 of `0-9 a-f`."""
    return secrets.token_hex(ID_BYTES)


def new_key() -> str:
    """Return a fresh key of 64 of `0-9 a-f`."""
    return secrets.token_hex(KEY_BYTES)


def new_code() -> str:
    """Return a fresh pairing code of 32 of `A-Z a-z 0-9 _ -`."""
    return secrets.token_urlsafe(CODE_BYTES)


def new_random() -> random.Random:
    """Return a source of chance for jitter; nothing secret may come from it."""
    return random.Random()
