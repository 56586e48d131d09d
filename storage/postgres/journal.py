"""The journal in PostgreSQL, and the reading of all journals in the order of their commits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, Final

import attrs

from storage.postgres.append import append_call
from storage.postgres.transaction import PostgresTransaction
from storage.postgres.writer import PostgresWriter
from storage.records import Head, Row
from storage.tables.append import Append
from storage.tables.journal import MAX_SEQ, MESSAGE_KINDS, PAGE_BYTES, RARE_KINDS, TableJournal
from storage.tables.notifications.changes import SCAN_ROWS, START, Changes
from storage.transaction import Transaction

__all__ = ["PostgresChanges", "PostgresJournal"]

_COLUMNS: Final = "session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, commit_no"
# The page ends by size in the database. `octet_length` does not read a payload that lies outside of its row.
_PAGE: Final = """
SELECT {columns} FROM (
  SELECT {columns}, sum(octet_length(payload)) OVER
    (ORDER BY seq {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
  FROM journal WHERE session_id = $1 AND seq > $2 AND seq < $3 {kinds} ORDER BY seq {order} LIMIT $4
) AS page WHERE before IS NULL OR before <= {bytes} ORDER BY seq
"""
_PROBE: Final = """
INSERT INTO meta (key, value) VALUES ('probes', '1')
ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS bigint) + 1 AS text)
"""

# All rows of transactions that have ended for every reader. A later commit has a higher `xid` than these. `ORDER BY xid`
# would take the column of the result, which is text: 999 would come after 1000.
_ENDED: Final = "xid < pg_snapshot_xmin(pg_current_snapshot())"
_AFTER: Final = f"FROM journal WHERE (xid, commit_no) > ($1::text::xid8, $2) AND {_ENDED}"
_SCANNED: Final = (
    f"SELECT xid::text, commit_no {_AFTER} ORDER BY journal.xid, commit_no LIMIT 1 OFFSET {SCAN_ROWS}"
)
_LAST: Final = f"SELECT xid::text, commit_no FROM journal WHERE {_ENDED} ORDER BY journal.xid DESC, commit_no DESC LIMIT 1"
_CHANGES: Final = f"""
SELECT {_COLUMNS}, xid::text {_AFTER} AND (xid, commit_no) <= ($3::text::xid8, $4)
  AND kind = ANY ($5::text[]) AND at_ms >= $6 ORDER BY journal.xid, commit_no LIMIT $7
"""


@attrs.define(eq=False)
class PostgresJournal(TableJournal):
    """The journal in PostgreSQL. All appends are durable: committed together, that costs little."""

    _postgres: PostgresWriter

    async def _append(self, job: Append, *, durable: bool, rows: int, size: int) -> int:
        head: int = await self._postgres.call(append_call(job), rows=rows, size=size)
        return head

    async def head(self, session_id: str) -> Head:
        """Return the committed end of a session. After a lost answer to COMMIT it waits until that has ended."""
        await self._postgres.settle()
        return await super().head(session_id)

    async def read(
        self,
        session_id: str,
        after: int,
        limit: int,
        *,
        before: int | None = None,
        kinds: Collection[str] | None = None,
        newest: bool = False,
    ) -> Sequence[Row]:
        """Read a page of committed rows."""
        condition, order = _condition(kinds), "DESC" if newest else ""
        sql = _PAGE.format(columns=_COLUMNS, order=order, kinds=condition, bytes=PAGE_BYTES)
        bound: tuple[Any, ...] = (session_id, after, MAX_SEQ if before is None else before, limit)
        if kinds is not None:
            bound = (*bound, sorted(kinds))
        return [Row(*row) for row in await self._readers.all(sql, bound)]

    async def check_writable(self) -> None:
        """Change a row, durably."""
        await self._writer.submit(_probe, durable=True)


def _condition(kinds: Collection[str] | None) -> str:
    """Return the condition for these kinds. A partial index is used only if its own condition is there too."""
    if kinds is None:
        return ""
    index = next((known for known in (MESSAGE_KINDS, RARE_KINDS) if known.issuperset(kinds)), None)
    own = "" if index is None else " AND kind IN ('" + "', '".join(sorted(index)) + "')"
    return "AND kind = ANY ($5::text[])" + own


def _probe(connection: Transaction) -> None:
    connection.execute(_PROBE)


@attrs.frozen
class PostgresChanges(Changes):
    """Reads all journals. A position is a transaction's number and a commit number: commits have no other order."""

    async def page(
        self, position: str, kinds: Collection[str], limit: int, *, since_ms: int = 0
    ) -> tuple[Sequence[Row], str]:
        """Return the next rows and the position after them, as `Changes` does."""
        return await self._readers.run(partial(_page, position, sorted(kinds), limit, since_ms))

    async def end(self) -> str:
        """Return the position after all rows that are there now and whose order is settled."""
        return await self._readers.run(lambda connection: _text(connection.execute(_LAST).get))


def _page(
    position: str, kinds: list[str], limit: int, since_ms: int, connection: Transaction
) -> tuple[list[Row], str]:
    assert isinstance(connection, PostgresTransaction)
    after = _parsed(position)
    end = connection.execute(_SCANNED, after).get or connection.execute(_LAST).get
    if end is None or (int(end[0]), end[1]) <= (int(after[0]), after[1]):
        return [], position
    found = connection.execute(_CHANGES, (*after, *end, kinds, since_ms, limit)).fetchall()
    rows = [Row(*columns[:-1]) for columns in found]
    return rows, _text((found[-1][-1], rows[-1].commit_no) if len(rows) == limit else end)


def _text(place: tuple[str, int] | None) -> str:
    return START if place is None else f"{place[0]}:{place[1]}"


def _parsed(position: str) -> tuple[str, int]:
    xid, _, number = position.partition(":")
    return str(int(xid)), int(number or 0)
