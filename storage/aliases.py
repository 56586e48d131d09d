"""Replaces the iOS app's own ids by aliases. Those ids let a client reconnect without a key, so they are never stored.

The app's `device_id` is a UUID, and its `session_id` contains it: `UUID-claude-UUID` or `UUID-codex-UUID`. This program
stores, shows and exports an alias instead: a keyed hash, with its secret in the database. An alias cannot be turned
back into the id. The same id always gets the same alias.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Final

import attrs

from storage.errors import StorageCorrupt
from storage.transaction import Transaction

__all__ = ["ALIAS_PREFIX", "Aliases", "is_app_device", "is_app_session", "read_aliases"]

ALIAS_PREFIX: Final = "ios-"

ALIAS_DIGITS: Final = 12
"""Hexadecimal digits after the prefix."""

SECRET_BYTES: Final = 32

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_DEVICE: Final = re.compile(_UUID)
_SESSION: Final = re.compile(f"{_UUID}-(?:claude|codex)-{_UUID}")

_SECRET = "SELECT value FROM meta WHERE key = 'app_alias_key'"


def is_app_device(text: str) -> bool:
    """Return whether a `device_id` has the form that the iOS app gives it."""
    return _DEVICE.fullmatch(text) is not None


def is_app_session(text: str) -> bool:
    """Return whether a `session_id` has the form that the iOS app gives it."""
    return _SESSION.fullmatch(text) is not None


@attrs.frozen
class Aliases:
    """Maps the app's own ids to their aliases. Other ids stay as they are."""

    secret: bytes = attrs.field(repr=False)

    def session(self, session_id: str) -> str:
        """Return the session id to use for one that a client sent."""
        return self._alias(session_id) if is_app_session(session_id) else session_id

    def device(self, device_id: str) -> str:
        """Return the device label to use for one that a client sent."""
        is_own = is_app_device(device_id) or is_app_session(device_id)
        return self._alias(device_id) if is_own else device_id

    def path(self, path: str) -> str:
        """Return a URL's path with each session id in it replaced."""
        return "/".join(map(self.session, path.split("/")))

    def _alias(self, own_id: str) -> str:
        digest = hmac.digest(self.secret, own_id.encode("ascii"), sha256)
        return ALIAS_PREFIX + digest.hex()[:ALIAS_DIGITS]


def read_aliases(connection: Transaction) -> Aliases:
    """Return the aliases of a database of the newest version. Raises StorageCorrupt if it has no secret."""
    try:
        secret = bytes.fromhex(connection.execute(_SECRET).get or "")
    except (TypeError, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise StorageCorrupt("the database has no key for the iOS app's ids; restore a backup")
    return Aliases(secret)
