"""The deliveries: what became of each alert on each channel.

    planned → sending → sent → shown → acted | withdrawn        or skipped, failed, dropped, with a reason

`sending` is stored before the request to a service. One that is still `sending` at a start may have been sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, Literal

import attrs

from storage.tables.notifications.alerts import ALERT_COLUMNS, PAGE_CLOSES_MS, Alert
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["AlertDelivery", "Deliveries", "DeliveryOutcome", "Due"]

_DELIVERY: Final = (
    "alert_id, channel_id, state, reason, tries, due_at_ms, status, sent_at_ms, shown_at_ms, acted_at_ms,"
    " withdrawn_at_ms"
)
_DUE = f"""
SELECT {", ".join("alert." + name for name in ALERT_COLUMNS.split(", "))}, delivery.channel_id, delivery.state,
       delivery.tries, delivery.due_at_ms, delivery.shown_at_ms
FROM delivery JOIN alert USING (alert_id) WHERE delivery.due_at_ms IS NOT NULL ORDER BY delivery.due_at_ms LIMIT ?
"""
_STATE = """
SELECT delivery.state, alert.settled_at_ms FROM delivery JOIN alert USING (alert_id)
WHERE delivery.alert_id = ? AND channel_id = ?
"""
_BEGIN = """
UPDATE delivery SET state = 'sending', tries = tries + 1, due_at_ms = NULL
WHERE alert_id = ? AND channel_id = ? AND state = ? AND tries = ? AND due_at_ms IS NOT NULL
"""
_END = """
UPDATE delivery SET reason = ?4, status = ?5, due_at_ms = ?6,
  state = CASE WHEN ?3 = 'sent' AND state = 'shown' THEN 'shown' ELSE ?3 END,
  sent_at_ms = CASE WHEN ?3 = 'sent' THEN ?7 ELSE sent_at_ms END,
  withdrawn_at_ms = CASE WHEN ?3 = 'withdrawn' THEN ?7 ELSE withdrawn_at_ms END
WHERE alert_id = ?1 AND channel_id = ?2
"""
_LATER = (
    "UPDATE delivery SET due_at_ms = ?3, reason = ?4 WHERE alert_id = ?1 AND channel_id = ?2 AND state = ?5"
)
# What was not known to be sent is sent once more: the channel shows the same card again, without a sound.
_RECALL = "UPDATE delivery SET due_at_ms = ? WHERE state = 'sending' AND due_at_ms IS NULL"
_OF_OWNER = """
SELECT delivery.channel_id, delivery.state FROM delivery JOIN channel USING (channel_id)
WHERE alert_id = ?1 AND channel.owner = ?2 AND (CAST(?3 AS TEXT) IS NULL OR channel_id = ?3)
  AND delivery.state IN ('sending', 'sent', 'shown')
"""
_SHOWN = """
UPDATE delivery SET shown_at_ms = coalesce(shown_at_ms, ?3), state = CASE state WHEN 'sent' THEN 'shown' ELSE state END
WHERE alert_id = ?1 AND channel_id = ?2
"""
_ACTED = """
UPDATE delivery SET state = 'acted', acted_at_ms = ?3, shown_at_ms = coalesce(shown_at_ms, ?3), due_at_ms = NULL
WHERE alert_id = ?1 AND channel_id = ?2
"""
_CLOSED = """
UPDATE delivery SET state = 'withdrawn', withdrawn_at_ms = ?3, due_at_ms = NULL
WHERE alert_id = ?1 AND channel_id = ?2
"""
_IS_SETTLED = "SELECT settled_at_ms IS NOT NULL FROM alert WHERE alert_id = ?"
_ALERTS = f"""
SELECT {ALERT_COLUMNS} FROM alert WHERE (CAST(?1 AS TEXT) IS NULL OR session_id = ?1)
  AND (CAST(?2 AS BIGINT) IS NULL OR (raised_at_ms, alert_id) < (CAST(?2 AS BIGINT), CAST(?3 AS TEXT)))
ORDER BY raised_at_ms DESC, alert_id DESC LIMIT ?4
"""
_OF_ALERT = f"SELECT {_DELIVERY} FROM delivery WHERE alert_id = ? ORDER BY channel_id"
_LAST_SHOWN = """
SELECT channel_id, max(shown_at_ms) FROM delivery JOIN channel USING (channel_id)
WHERE shown_at_ms IS NOT NULL GROUP BY channel_id
"""
_SILENT = """
SELECT count(*) FROM (SELECT shown_at_ms FROM delivery WHERE channel_id = ?1 AND sent_at_ms IS NOT NULL
  AND sent_at_ms < ?2 ORDER BY sent_at_ms DESC LIMIT ?3) AS newest WHERE shown_at_ms IS NULL
"""


@attrs.frozen
class Due:
    """A delivery whose time has come: to be sent or, if its alert is settled, to be withdrawn."""

    alert: Alert
    channel_id: str
    state: str
    tries: int
    due_at_ms: int
    shown_at_ms: int | None

    @property
    def key(self) -> tuple[str, str]:
        """The delivery."""
        return self.alert.alert_id, self.channel_id


@attrs.frozen
class DeliveryOutcome:
    """What became of a request to a service.

    Attributes:
        state: `sent`, `withdrawn`, `failed`, `dropped`; or `planned` or `sending`, to be tried again at `due_at_ms`:
            the service surely did not take it, or may have.
        status: the service's.
    """

    state: Literal["sent", "withdrawn", "failed", "dropped", "skipped", "planned", "sending"]
    reason: str | None = None
    status: int | None = None
    due_at_ms: int | None = None


@attrs.frozen
class AlertDelivery:
    """A stored delivery."""

    alert_id: str
    channel_id: str
    state: str
    reason: str | None
    tries: int
    due_at_ms: int | None
    status: int | None
    sent_at_ms: int | None
    shown_at_ms: int | None
    acted_at_ms: int | None
    withdrawn_at_ms: int | None


@attrs.define(eq=False)
class Deliveries:
    """All deliveries. Each method raises StorageUnavailable."""

    _writer: TableWriter
    _readers: TableReaders

    async def recall(self, now_ms: int) -> None:
        """Make due what an earlier server was sending. Call once, at the start."""
        await self._writer.submit(lambda connection: _run(connection, _RECALL, (now_ms,)), durable=True)

    async def due(self, limit: int) -> list[Due]:
        """Return what is or will be due, the longest due first."""
        rows = await self._readers.all(_DUE, (limit,))
        return [Due(Alert(*row[:-5]), *row[-5:]) for row in rows]

    async def begin(self, due: Due) -> bool:
        """Store that a card is being sent; False, and nothing is stored, if its alert is settled, or if it was sent, or
        is being sent by another node."""
        return await self._writer.submit(partial(_begin, due), durable=True)

    async def end(self, key: tuple[str, str], outcome: DeliveryOutcome, now_ms: int) -> None:
        """Store what became of it. If the alert was settled meanwhile, the withdrawal of a sent card is due."""
        await self._writer.submit(partial(_end, key, outcome, now_ms), durable=True)

    async def later(self, due: Due, due_at_ms: int, reason: str) -> None:
        """Try a delivery later; it stays as it is."""
        bound = (*due.key, due_at_ms, reason, due.state)
        await self._writer.submit(lambda connection: _run(connection, _LATER, bound), durable=False)

    async def seen(
        self, alert_id: str, owner: str, channel_id: str | None, what: str, now_ms: int
    ) -> Sequence[str]:
        """Note what a device reports of a card: `shown`, `clicked`, `closed`. Return the channels that it was on.

        Args:
            owner: only channels of this key.
            channel_id: only this one of them; None: all.
        """
        bound = (alert_id, owner, channel_id)
        return await self._writer.submit(partial(_seen, bound, what, now_ms), durable=True)

    async def why(
        self, session_id: str | None, before: tuple[int, str] | None, limit: int
    ) -> list[tuple[Alert, list[AlertDelivery]]]:
        """Return alerts with their deliveries, newest first. `before`: only those behind this time and id."""
        return await self._readers.run(partial(_why, session_id, before, limit))

    async def last_shown(self) -> dict[str, int]:
        """Return when each channel last showed a card."""
        return dict(await self._readers.all(_LAST_SHOWN))

    async def silent(self, channel_id: str, before_ms: int, count: int) -> int:
        """Return how many of the last `count` cards that were sent before then were never shown."""
        found: int = (await self._readers.all(_SILENT, (channel_id, before_ms, count)))[0][0]
        return found


def _run(connection: Transaction, sql: str, bound: tuple[str | int | None, ...]) -> None:
    connection.execute(sql, bound)


def _begin(due: Due, connection: Transaction) -> bool:
    state, settled = connection.execute(_STATE, due.key).get or (None, None)
    if settled is not None or state not in ("planned", "sending"):
        return False
    connection.execute(_BEGIN, (*due.key, due.state, due.tries))
    return connection.changes() == 1


def _end(key: tuple[str, str], outcome: DeliveryOutcome, now_ms: int, connection: Transaction) -> None:
    found = connection.execute(_STATE, key).get
    if found is None:
        return
    state, settled = found
    if state not in ("planned", "sending", "sent", "shown"):
        return  # its device was faster
    due = outcome.due_at_ms
    if settled is not None and outcome.state in ("sent", "sending") and due is None:
        due = now_ms + PAGE_CLOSES_MS
    elif settled is not None and outcome.state == "planned":
        outcome, due = DeliveryOutcome("skipped", "answered_first", outcome.status), None
    connection.execute(_END, (*key, outcome.state, outcome.reason, outcome.status, due, now_ms))


def _seen(bound: tuple[str, str, str | None], what: str, now_ms: int, connection: Transaction) -> list[str]:
    found: list[Any] = connection.execute(_OF_OWNER, bound).fetchall()
    settled = bool(connection.execute(_IS_SETTLED, bound[:1]).get)
    sql = _SHOWN if what == "shown" else _CLOSED if settled and what == "closed" else _ACTED
    for channel_id, _ in found:
        connection.execute(sql, (bound[0], channel_id, now_ms))
    return [channel_id for channel_id, _ in found]


def _why(
    session_id: str | None, before: tuple[int, str] | None, limit: int, connection: Transaction
) -> list[tuple[Alert, list[AlertDelivery]]]:
    rows: list[Any] = connection.execute(_ALERTS, (session_id, *(before or (None, None)), limit)).fetchall()
    return [(Alert(*row), _deliveries(connection.execute(_OF_ALERT, row[:1]).fetchall())) for row in rows]


def _deliveries(rows: list[Any]) -> list[AlertDelivery]:
    return [AlertDelivery(*row) for row in rows]
