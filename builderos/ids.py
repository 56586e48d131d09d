"""The only source of time, ids, keys and randomness; everything else receives them as arguments."""

from __future__ import annotations

import random
import secrets
import time

__all__ = ["KEY_BYTES", "new_code", "new_id", "new_key", "new_random", "wall_clock_ms"]

ID_BYTES = 16
"""Random bytes of an id: unguessable and unique."""

KEY_BYTES = 32
"""Random bytes of a device's key."""

CODE_BYTES = 24
"""Random bytes of a pairing code: too many to guess, and short enough for a small QR code."""


def wall_clock_ms() -> int:
    """Return milliseconds since 1970 in UTC."""
    return time.time_ns() // 1_000_000


def new_id() -> str:
    """Return a new id of 32 of `0-9 a-f`."""
    return secrets.token_hex(ID_BYTES)


def new_key() -> str:
    """Return a new key of 64 of `0-9 a-f`."""
    return secrets.token_hex(KEY_BYTES)


def new_code() -> str:
    """Return a new pairing code of 32 of `A-Z a-z 0-9 _ -`."""
    return secrets.token_urlsafe(CODE_BYTES)


def new_random() -> random.Random:
    """Return a source of randomness for jitter; do not use it for secrets."""
    return random.Random()
