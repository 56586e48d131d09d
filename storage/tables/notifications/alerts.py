"""The alerts: what a person should know or decide, and which steps of the ladder each has reached.

Position, alerts and their ends are stored in one transaction, so none is lost and none is made twice, whenever the
server dies. What a channel does with an alert is a delivery (`storage.tables.notifications.deliveries`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import attrs

from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = [
    "ALERT_COLUMNS",
    "KEEP_MS",
    "MAX_ALERTS",
    "Alert",
    "Alerts",
    "Change",
    "Raise",
    "Settle",
    "Told",
]

MAX_ALERTS: Final = 10_000
KEEP_MS: Final = 30 * 24 * 3600 * 1000
"""Older alerts, and more of them, are forgotten."""

PAGE_CLOSES_MS: Final = 1000
"""How long an open page may take to close a card by itself before the card is replaced by another push."""

_RAISED = "alert_id, session_id, seq, kind, subject, author, raised_at_ms"
ALERT_COLUMNS: Final = f"{_RAISED}, step, due_at_ms, settled_at_ms, how, by_device"
_POSITION = "SELECT position FROM consumer WHERE name = 'push'"
_BEGIN = "INSERT INTO consumer (name, position) VALUES ('push', ?) ON CONFLICT (name) DO NOTHING"
_PLACE = "SELECT position FROM consumer WHERE name = 'place'"
_SET_PLACE = """
INSERT INTO consumer (name, position) VALUES ('place', ?)
ON CONFLICT (name) DO UPDATE SET position = excluded.position
"""
_MOVE = "UPDATE consumer SET position = ? WHERE name = 'push' AND position = ?"
_RAISE = """
INSERT INTO alert (alert_id, session_id, seq, kind, subject, author, raised_at_ms, step, due_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)
ON CONFLICT DO NOTHING
"""
_OPEN = f"SELECT {ALERT_COLUMNS} FROM alert WHERE settled_at_ms IS NULL AND session_id = ?"
_OPEN_SESSIONS = "SELECT DISTINCT session_id FROM alert WHERE settled_at_ms IS NULL"
_COUNT_OPEN = """
SELECT count(*) FROM alert WHERE settled_at_ms IS NULL AND kind IN (SELECT value FROM json_each(?))
"""
_DUE = f"SELECT {ALERT_COLUMNS} FROM alert WHERE due_at_ms <= ? ORDER BY due_at_ms LIMIT ?"
_NEXT_DUE = "SELECT min(due_at_ms) FROM alert WHERE due_at_ms IS NOT NULL"
_STEP = (
    f"SELECT {ALERT_COLUMNS} FROM alert WHERE settled_at_ms IS NULL AND step = ? AND due_at_ms IS NOT NULL"
)
_ADVANCE = """
UPDATE alert SET step = ?2, due_at_ms = ?3 WHERE alert_id = ?1 AND step = ?4 AND settled_at_ms IS NULL
"""
_TELL = """
INSERT INTO delivery (alert_id, channel_id, state, reason, tries, due_at_ms) VALUES (?1, ?2, ?3, ?4, 0, ?5)
ON CONFLICT (alert_id, channel_id) DO UPDATE SET state = ?3, reason = ?4, due_at_ms = ?5
  WHERE delivery.state = 'skipped'
"""
_END = """
UPDATE alert SET settled_at_ms = ?2, how = ?3, by_device = ?4, due_at_ms = NULL
WHERE alert_id = ?1 AND settled_at_ms IS NULL
"""
_SKIP_PLANNED = """
UPDATE delivery SET state = 'skipped', reason = ?2, due_at_ms = NULL WHERE alert_id = ?1 AND state = 'planned'
"""
# What is on its way may be shown yet: its card is replaced, too.
_WITHDRAW = """
UPDATE delivery SET due_at_ms = ?2 WHERE alert_id = ?1 AND state IN ('sending', 'sent', 'shown')
"""
_NOTE_REST = """
INSERT INTO delivery (alert_id, channel_id, state, reason, tries)
SELECT ?1, channel_id, 'skipped', ?2, 0 FROM channel WHERE state <> 'gone'
ON CONFLICT DO NOTHING
"""
_OLD = "DELETE FROM alert WHERE raised_at_ms < ?"
_MANY = """
DELETE FROM alert WHERE alert_id IN
  (SELECT alert_id FROM alert ORDER BY raised_at_ms DESC, alert_id DESC LIMIT 1000000000 OFFSET ?)
"""
_STRAYS = "DELETE FROM delivery WHERE alert_id NOT IN (SELECT alert_id FROM alert)"


@attrs.frozen
class Alert:
    """A stored alert.

    Attributes:
        seq: the event that raised it.
        subject: what it is about: the id of a request, a turn, a task.
        author: the label whose message began it; None if that is not known.
        how: what settled it: a decision, `read` `message` `gone` `seen` `continued` `cancelled` `sent`.
    """

    alert_id: str
    session_id: str
    seq: int
    kind: str
    subject: str
    author: str | None
    raised_at_ms: int
    step: int
    due_at_ms: int | None
    settled_at_ms: int | None
    how: str | None
    by_device: str | None


@attrs.frozen(kw_only=True)
class Raise:
    """A new alert."""

    alert_id: str
    session_id: str
    seq: int
    kind: str
    subject: str
    author: str | None
    raised_at_ms: int
    due_at_ms: int


@attrs.frozen(kw_only=True)
class Settle:
    """The end of a session's open alerts of some kinds, as far as they are not younger than `seq`.

    Attributes:
        subject: only the alert of this subject; None: all.
        reason: the reason of the deliveries that are therefore not sent.
    """

    session_id: str
    kinds: Collection[str]
    how: str
    reason: str
    at_ms: int
    subject: str | None = None
    seq: int = 2**63 - 1
    by_device: str | None = None


Change = Raise | Settle


@attrs.frozen
class Told:
    """What one step of the ladder decided for one channel. `reason`: why it is skipped; None: it is planned."""

    channel_id: str
    reason: str | None = None


@attrs.define(eq=False)
class Alerts:
    """All alerts. Each method raises StorageUnavailable."""

    _writer: TableWriter
    _readers: TableReaders

    async def position(self) -> str | None:
        """Return how far the journals were read; None before the first time."""
        rows = await self._readers.all(_POSITION)
        return rows[0][0] if rows else None

    async def begin(self, position: str) -> None:
        """Store the first position, unless there is one."""
        await self._writer.submit(partial(_run, _BEGIN, (position,)), durable=True)

    async def is_copy(self, place: str) -> bool:
        """Return whether the database was at another place the last time; from now on it is at this one."""
        return await self._writer.submit(partial(_look_at_place, place), durable=True)

    async def plan(self, expected: str, position: str, changes: Sequence[Change]) -> list[Alert] | None:
        """Store alerts, ends of alerts and the new position, all or nothing; return the alerts that ended.

        None, and nothing is stored, if the position is not `expected`: another reader was there first.
        """
        return await self._writer.submit(partial(_plan, expected, position, changes), durable=True)

    async def settle(self, change: Settle) -> list[Alert]:
        """End alerts without a new position, since what ended them is not an event; return them."""
        return await self._writer.submit(partial(_settle, change), durable=True)

    async def advance(self, alert: Alert, step: int, due_at_ms: int | None, told: Sequence[Told]) -> bool:
        """Store the next step of an alert with its deliveries; False if it has moved or ended meanwhile."""
        return await self._writer.submit(partial(_advance, alert, step, due_at_ms, told), durable=True)

    async def open_of(self, session_id: str) -> list[Alert]:
        """Return a session's alerts that are not settled."""
        return [Alert(*row) for row in await self._readers.all(_OPEN, (session_id,))]

    async def open_sessions(self) -> set[str]:
        """Return the sessions that have such alerts."""
        return {row[0] for row in await self._readers.all(_OPEN_SESSIONS)}

    async def due(self, now_ms: int, limit: int) -> list[Alert]:
        """Return the alerts whose ladder continues by now, the longest due first."""
        return [Alert(*row) for row in await self._readers.all(_DUE, (now_ms, limit))]

    async def at_step(self, step: int) -> list[Alert]:
        """Return the open alerts that wait at a step."""
        return [Alert(*row) for row in await self._readers.all(_STEP, (step,))]

    async def count_asking(self, kinds: Collection[str]) -> int:
        """Return how many alerts of these kinds are open."""
        found: int = (await self._readers.all(_COUNT_OPEN, (json.dumps(sorted(kinds)),)))[0][0]
        return found

    async def next_due_ms(self) -> int | None:
        """Return when the next alert is due; None: there is none."""
        found: int | None = (await self._readers.all(_NEXT_DUE))[0][0]
        return found

    async def prune(self, now_ms: int) -> None:
        """Forget what is old, and the oldest of too many."""
        await self._writer.submit(partial(_prune, now_ms), durable=False)


def _run(sql: str, bound: tuple[Any, ...], connection: Transaction) -> None:
    connection.execute(sql, bound)


def _look_at_place(place: str, connection: Transaction) -> bool:
    before = connection.execute(_PLACE).get
    connection.execute(_SET_PLACE, (place,))
    return before not in (None, place)


def _plan(
    expected: str, position: str, changes: Sequence[Change], connection: Transaction
) -> list[Alert] | None:
    connection.execute(_MOVE, (position, expected))
    if connection.changes() == 0:
        return None
    ended: list[Alert] = []
    for change in changes:
        if isinstance(change, Settle):
            ended += _settle(change, connection)
        else:
            own = (change.alert_id, change.session_id, change.seq, change.kind, change.subject)
            connection.execute(_RAISE, (*own, change.author, change.raised_at_ms, change.due_at_ms))
    return ended


def _alerts(rows: list[Any]) -> list[Alert]:
    return [Alert(*row) for row in rows]


def _settle(change: Settle, connection: Transaction) -> list[Alert]:
    ended = [
        alert
        for alert in _alerts(connection.execute(_OPEN, (change.session_id,)).fetchall())
        if change.subject in (None, alert.subject) and alert.kind in change.kinds and alert.seq <= change.seq
    ]
    for alert in ended:
        _end_one(alert.alert_id, change, connection)
    return [
        attrs.evolve(one, settled_at_ms=change.at_ms, how=change.how, by_device=change.by_device)
        for one in ended
    ]


def _end_one(alert_id: str, change: Settle, connection: Transaction) -> None:
    """End one alert: what was not sent is skipped, and what was is due for its withdrawal."""
    connection.execute(_END, (alert_id, change.at_ms, change.how, change.by_device))
    connection.execute(_SKIP_PLANNED, (alert_id, change.reason))
    connection.execute(_WITHDRAW, (alert_id, change.at_ms + PAGE_CLOSES_MS))
    connection.execute(_NOTE_REST, (alert_id, change.reason))


def _advance(
    alert: Alert, step: int, due_at_ms: int | None, told: Sequence[Told], connection: Transaction
) -> bool:
    connection.execute(_ADVANCE, (alert.alert_id, step, due_at_ms, alert.step))
    if connection.changes() != 1:
        return False  # settled, or another reader was first
    for one in told:
        planned = one.reason is None
        due = alert.raised_at_ms if planned else None
        state = "planned" if planned else "skipped"
        connection.execute(_TELL, (alert.alert_id, one.channel_id, state, one.reason, due))
    return True


def _prune(now_ms: int, connection: Transaction) -> None:
    connection.execute(_OLD, (now_ms - KEEP_MS,))
    gone = connection.changes()
    connection.execute(_MANY, (MAX_ALERTS,))
    if gone or connection.changes():
        connection.execute(_STRAYS)
