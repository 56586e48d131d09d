"""The push tokens that devices registered for notifications."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import apsw
import attrs

from storage.sqlite.readers import Readers
from storage.sqlite.writer import Writer

__all__ = ["TOKENS_PER_OWNER", "Notifications", "Registration"]

TOKENS_PER_OWNER = 32
"""Tokens that are kept for one key, the newest. An app gets a new token at each install, and nothing reports that an
old one has expired."""

_REGISTER = """
INSERT OR REPLACE INTO notification (device_token, platform, device_id, owner, registered_at_ms)
VALUES (?, ?, ?, ?, ?)
"""
_FORGET_OLD = """
DELETE FROM notification WHERE owner = ?1 AND device_token NOT IN
  (SELECT device_token FROM notification WHERE owner = ?1
   ORDER BY registered_at_ms DESC, device_token LIMIT ?2)
"""
# The devices of a revoked key get no notifications.
_ALL = """
SELECT device_token, platform, device_id, owner, registered_at_ms
FROM notification JOIN device ON device.id = owner AND revoked_at_ms IS NULL
ORDER BY registered_at_ms, device_token
"""


@attrs.frozen
class Registration:
    """A device's address for notifications. `owner`: the id of the key that registered it."""

    device_token: str
    platform: str
    device_id: str
    owner: str
    registered_at_ms: int


@attrs.define(eq=False)
class Notifications:
    """All registrations."""

    _writer: Writer
    _readers: Readers

    async def register(self, registration: Registration) -> None:
        """Store a registration, durably; it replaces one with the same token. Raises StorageUnavailable."""
        await self._writer.submit(partial(_register, registration), durable=True)

    async def listing(self) -> Sequence[Registration]:
        """Return the registrations of all valid keys, the oldest first."""
        return [Registration(*row) for row in await self._readers.all(_ALL)]


def _register(registration: Registration, connection: apsw.Connection) -> None:
    values = (
        registration.device_token,
        registration.platform,
        registration.device_id,
        registration.owner,
        registration.registered_at_ms,
    )
    connection.execute(_REGISTER, values)
    connection.execute(_FORGET_OLD, (registration.owner, TOKENS_PER_OWNER))
