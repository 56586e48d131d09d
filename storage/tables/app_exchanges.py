"""The iOS app's state between two connections: which ids a key was used with, and which answers it has not seen to
their end. Times and ids, which are aliases, come from the caller; this module does not interpret them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from hashlib import sha256

import attrs

from storage.tables.alias_migration import note_known
from storage.tables.devices import DeviceTable
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["APP_SCHEMA", "AppPairTable", "OpenExchange"]

APP_SCHEMA = """
-- Which pair of ids was last used with which key; the hash is that of `device`.
CREATE TABLE app_pair (
  device_id  TEXT NOT NULL,
  session_id TEXT NOT NULL,
  key_hash   BLOB NOT NULL,
  used_at_ms INTEGER NOT NULL,
  PRIMARY KEY (device_id, session_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX app_pair_by_use ON app_pair (used_at_ms);

-- Messages whose answer the app has not seen to its end; `told` counts the code points that it has.
CREATE TABLE app_exchange (
  number     INTEGER PRIMARY KEY,
  device_id  TEXT NOT NULL,
  session_id TEXT NOT NULL,
  message_id TEXT NOT NULL UNIQUE,
  at_ms      INTEGER NOT NULL,
  told       INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX app_exchange_by_pair ON app_exchange (device_id, session_id, number);
CREATE INDEX app_exchange_by_time ON app_exchange (at_ms);
"""

OPEN_PER_PAIR = 20
"""Unfinished answers of one pair that are kept; the oldest are dropped beyond that."""

_USE = """
INSERT INTO app_pair (device_id, session_id, key_hash, used_at_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (device_id, session_id) DO UPDATE
  SET key_hash = excluded.key_hash, used_at_ms = excluded.used_at_ms
"""
_FORGET_PAIRS = "DELETE FROM app_pair WHERE used_at_ms < ?"
_OWNER = """
SELECT key_hash, known.session_id IS NOT NULL, coalesce(known.burnt, 0) FROM app_pair
LEFT JOIN app_known AS known ON known.session_id = app_pair.session_id
WHERE device_id = ? AND app_pair.session_id = ? AND used_at_ms >= ?
"""
_NEWEST = """
SELECT session_id FROM app_pair WHERE key_hash = ? AND used_at_ms >= ? ORDER BY used_at_ms DESC LIMIT 8
"""
_OPEN = """
INSERT INTO app_exchange (device_id, session_id, message_id, at_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (message_id) DO NOTHING
"""
_BOUND = """
DELETE FROM app_exchange WHERE number IN (
  SELECT number FROM app_exchange WHERE device_id = ? AND session_id = ? ORDER BY number DESC
  LIMIT 1000000000 OFFSET ?
)
"""
_FORGET_EXCHANGES = "DELETE FROM app_exchange WHERE at_ms < ?"
_OPEN_ONES = """
SELECT message_id, told FROM app_exchange WHERE device_id = ? AND session_id = ? ORDER BY number
"""
_TOLD = "UPDATE app_exchange SET told = ?1 WHERE message_id = ?2 AND told < ?1"
_CLOSE = "DELETE FROM app_exchange WHERE message_id = ?"


@attrs.frozen
class OpenExchange:
    """A message whose answer the app has seen up to code point `told`."""

    message_id: str
    told: int


@attrs.define(eq=False)
class AppPairTable:
    """All pairs and unfinished answers. Nothing here is fsynced: it survives a crash of the server, not of the machine.

    All methods raise StorageUnavailable, or StorageCorrupt if the file cannot be read.
    """

    _writer: TableWriter
    _readers: TableReaders
    _devices: DeviceTable

    async def use(self, device_id: str, session_id: str, key: str, *, now_ms: int, keep_ms: int) -> None:
        """Record that a pair was used with `key` just now; drop those not used for `keep_ms`."""
        bound = (device_id, session_id, _hash(key), now_ms)
        await self._writer.submit(partial(_use, bound, now_ms - keep_ms), durable=False)

    async def note_known(self, session_id: str) -> None:
        """Record that the app's own id of a session was readable before the aliases; any other id is left alone."""
        await self._writer.submit(partial(note_known, session_id), durable=False)

    async def owner(self, device_id: str, session_id: str, *, since_ms: int) -> bytes | None:
        """Return the hash of the key that a pair was last used with; None if that is before `since_ms`.

        None too for a pair whose own ids were readable before the aliases, if any key was revoked since.
        """
        rows = await self._readers.all(_OWNER, (device_id, session_id, since_ms))
        if not rows:
            return None
        key_hash, known, burnt = rows[0]
        return None if burnt or (known and self._devices.revocations.any) else key_hash

    async def newest(self, key: str, *, since_ms: int) -> Sequence[str]:
        """Return the sessions that a key was used with since then: eight at most, the newest first."""
        return [str(row[0]) for row in await self._readers.all(_NEWEST, (_hash(key), since_ms))]

    async def open(
        self, device_id: str, session_id: str, message_id: str, *, now_ms: int, keep_ms: int
    ) -> None:
        """Record that an answer is wanted; drop those wanted over `keep_ms` ago."""
        bound = (device_id, session_id, message_id, now_ms)
        await self._writer.submit(partial(_open, bound, now_ms - keep_ms), durable=False)

    async def open_exchanges(self, device_id: str, session_id: str) -> Sequence[OpenExchange]:
        """Return the answers that a pair still wants, in the order of asking."""
        return [OpenExchange(*row) for row in await self._readers.all(_OPEN_ONES, (device_id, session_id))]

    async def settle(self, told: Sequence[OpenExchange], closed: Sequence[str]) -> None:
        """Record how much of some answers was sent, and that others are complete."""
        await self._writer.submit(partial(_settle, tuple(told), tuple(closed)), durable=False)


def _hash(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def _use(bound: tuple[str, str, bytes, int], before_ms: int, connection: Transaction) -> None:
    connection.execute(_USE, bound)
    connection.execute(_FORGET_PAIRS, (before_ms,))


def _open(bound: tuple[str, str, str, int], before_ms: int, connection: Transaction) -> None:
    connection.execute(_OPEN, bound)
    connection.execute(_BOUND, (bound[0], bound[1], OPEN_PER_PAIR))
    connection.execute(_FORGET_EXCHANGES, (before_ms,))


def _settle(exchanges: tuple[OpenExchange, ...], closed: tuple[str, ...], connection: Transaction) -> None:
    for exchange in exchanges:
        connection.execute(_TOLD, (exchange.told, exchange.message_id))
    for message_id in closed:
        connection.execute(_CLOSE, (message_id,))
