"""The channels: places where a device, or a service for a person, is notified."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import attrs
import orjson

from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = [
    "CHANNELS_PER_OWNER",
    "MAX_CHANNELS",
    "WANTS",
    "Channel",
    "Channels",
    "NewChannel",
]

CHANNELS_PER_OWNER: Final = 32
"""Channels that are kept for one key, the newest. Nothing reports that an old one has expired."""

MAX_CHANNELS: Final = 256
"""Channels of all keys."""

WANTS: Final = ("decision", "finished", "failed")
"""What a channel can be notified, and its owner can switch off."""

_COLUMNS = (
    "channel_id, kind, owner, label, address, keys, origin, wants, state, problem, retry_at_ms, created_at_ms,"
    " seen_at_ms"
)
# A revoked key's channels are notified nothing. Those of the config file belong to nobody's key.
_ALL = f"""
SELECT {_COLUMNS}, coalesce((SELECT person FROM device WHERE id = owner), 'owner') FROM channel
WHERE owner = '' OR owner IN (SELECT id FROM device WHERE revoked_at_ms IS NULL)
ORDER BY created_at_ms, channel_id
"""
_PUT = f"""
INSERT INTO channel ({_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, coalesce(?8, '{{}}'), 'live', NULL, NULL, ?9, ?9)
ON CONFLICT (address) DO UPDATE SET kind = ?2, owner = ?3, label = ?4, keys = ?6, origin = ?7,
  wants = coalesce(?8, channel.wants), state = 'live', problem = NULL, retry_at_ms = NULL, seen_at_ms = ?9
RETURNING channel_id
"""
# A browser's new subscription, or an app's new token, takes the place of the old one.
_REPLACED = "DELETE FROM channel WHERE owner = ?1 AND kind = ?2 AND label = ?3 AND address <> ?4"
_FORGET_OLD = """
DELETE FROM channel WHERE owner = ?1 AND channel_id NOT IN
  (SELECT channel_id FROM channel WHERE owner = ?1 ORDER BY seen_at_ms DESC, address LIMIT ?2)
"""
_COUNT = "SELECT count(*) FROM channel WHERE address <> ?"
_SET_WANTS = "UPDATE channel SET wants = ? WHERE channel_id = ?"
_REMOVE = "DELETE FROM channel WHERE channel_id = ?"
_MARK = "UPDATE channel SET state = ?2, problem = ?3, retry_at_ms = ?4 WHERE channel_id = ?1"
_SEEN = "UPDATE channel SET problem = NULL, seen_at_ms = ?2 WHERE channel_id = ?1 AND state = 'live'"
_NOT_CONFIGURED = "DELETE FROM channel WHERE owner = '' AND address NOT IN (SELECT value FROM json_each(?))"
_SLEEP = "UPDATE channel SET state = 'asleep' WHERE owner <> '' AND state = 'live'"
_PERSON = """
SELECT person FROM device JOIN label ON label.device_id = device.id WHERE label = ?1
UNION ALL SELECT person FROM device WHERE id = ?1 LIMIT 1
"""
_SUMMARY = """
SELECT kind, state, count(*), max((SELECT max(shown_at_ms) FROM delivery WHERE delivery.channel_id = channel.channel_id))
FROM channel GROUP BY kind, state ORDER BY kind, state
"""


@attrs.frozen(kw_only=True)
class NewChannel:
    """A channel to store. `wants`: None keeps what the address had before. `owner`: empty for one of the config."""

    channel_id: str
    kind: str
    owner: str
    label: str
    address: str = attrs.field(repr=False)
    keys: bytes = attrs.field(default=b"", repr=False)
    origin: str | None = None
    wants: dict[str, bool] | None = None


@attrs.frozen(kw_only=True)
class Channel:
    """A stored channel. `person`: whose it is."""

    channel_id: str
    kind: str
    owner: str
    label: str
    address: str = attrs.field(repr=False)
    keys: bytes = attrs.field(repr=False)
    origin: str | None
    wants: dict[str, bool]
    state: str
    problem: str | None
    retry_at_ms: int | None
    created_at_ms: int
    seen_at_ms: int
    person: str

    def wants_kind(self, kind: str) -> bool:
        """Return whether its owner left this kind of alert on."""
        return self.wants.get(kind, True)


@attrs.define(eq=False)
class Channels:
    """All channels. Each method raises StorageUnavailable."""

    _writer: TableWriter
    _readers: TableReaders

    async def register(self, channel: NewChannel, now_ms: int) -> str | None:
        """Store a channel, durably; one with the same address is refreshed. Return its id; None if there are too
        many."""
        return await self._writer.submit(partial(_register, channel, now_ms), durable=True)

    async def configure(self, channels: Sequence[NewChannel], now_ms: int) -> None:
        """Store the channels of the config file, and forget those that it no longer has."""
        await self._writer.submit(partial(_configure, channels, now_ms), durable=True)

    async def listing(self) -> list[Channel]:
        """Return the channels of all valid keys and of the config, the oldest first."""
        return [_channel(row) for row in await self._readers.all(_ALL)]

    async def person_of(self, label: str) -> str | None:
        """Return whose device a label is; None if nobody knows."""
        rows = await self._readers.all(_PERSON, (label,))
        return rows[0][0] if rows else None

    async def set_wants(self, channel_id: str, wants: dict[str, bool]) -> None:
        """Store what a channel wants."""
        await self._execute(_SET_WANTS, (orjson.dumps(wants).decode(), channel_id))

    async def remove(self, channel_id: str) -> None:
        """Remove a channel."""
        await self._execute(_REMOVE, (channel_id,))

    async def mark(
        self, channel_id: str, state: str, problem: str | None, retry_at_ms: int | None = None
    ) -> None:
        """Store how a channel is, and why."""
        await self._execute(_MARK, (channel_id, state, problem, retry_at_ms))

    async def seen(self, channel_id: str, now_ms: int) -> None:
        """Note that a channel's device has shown something: it works."""
        await self._execute(_SEEN, (channel_id, now_ms))

    async def sleep(self) -> None:
        """Put all channels of devices to sleep, until each device shows itself."""
        await self._execute(_SLEEP, ())

    async def summary(self) -> Sequence[tuple[str, str, int, int | None]]:
        """Return for each kind and state how many channels there are, and when the last card was shown."""
        return [tuple(row) for row in await self._readers.all(_SUMMARY)]

    async def _execute(self, sql: str, bound: tuple[str | int | None, ...]) -> None:
        await self._writer.submit(lambda connection: _run(connection, sql, bound), durable=True)


def _run(connection: Transaction, sql: str, bound: tuple[str | int | None, ...]) -> None:
    connection.execute(sql, bound)


def _channel(row: tuple[Any, ...]) -> Channel:
    names = (*_COLUMNS.split(", "), "person")
    return Channel(**{**dict(zip(names, row, strict=True)), "wants": orjson.loads(row[7])})


def _register(channel: NewChannel, now_ms: int, connection: Transaction) -> str | None:
    connection.execute(_REPLACED, (channel.owner, channel.kind, channel.label, channel.address))
    if connection.execute(_COUNT, (channel.address,)).get >= MAX_CHANNELS:
        return None
    channel_id: str = connection.execute(_PUT, _bound(channel, now_ms)).get
    connection.execute(_FORGET_OLD, (channel.owner, CHANNELS_PER_OWNER))
    return channel_id


def _bound(channel: NewChannel, now_ms: int) -> tuple[str | bytes | int | None, ...]:
    wants = None if channel.wants is None else orjson.dumps(channel.wants).decode()
    own = (channel.channel_id, channel.kind, channel.owner, channel.label, channel.address)
    return (*own, channel.keys, channel.origin, wants, now_ms)


def _configure(channels: Collection[NewChannel], now_ms: int, connection: Transaction) -> None:
    connection.execute(_NOT_CONFIGURED, (orjson.dumps([one.address for one in channels]).decode(),))
    for channel in channels:
        connection.execute(_PUT, _bound(channel, now_ms))
