"""Reads the rows of all journals in the order of their commits, from an opaque position on.

A reader that keeps its position sees each row once. Only this module knows what a position is: with another database
the order of commits is not the order of numbers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import attrs

from storage.records import Row
from storage.transaction import TableReaders, Transaction

__all__ = ["NOTABLE_KINDS", "NOTABLE_SCHEMA", "START", "Changes"]

START: Final = "0"
"""The position before all rows."""

NOTABLE_KINDS: Final = frozenset(
    {
        "user_message",
        "permission_requested",
        "permission_resolved",
        "complete",
        "error",
        "interrupted",
        "session_updated",
        "task_finished",
        "notice",
    }
)
"""The kinds in the index `journal_notable`."""

_NOTABLE: Final = (
    "kind IN ('user_message', 'permission_requested', 'permission_resolved', 'complete', 'error', 'interrupted',"
    " 'session_updated', 'task_finished', 'notice')"
)

NOTABLE_SCHEMA: Final = f"""
-- For readers of all journals that look for these kinds: without it each look would pass every row.
CREATE INDEX journal_notable ON journal (commit_no) WHERE {_NOTABLE};
"""

SCAN_ROWS: Final = 20_000
"""Rows that one read without the index scans. It must not hold its view of the database for long, or the WAL grows."""

_COLUMNS = "session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, commit_no"
_KINDS = "kind IN (SELECT value FROM json_each(?1)) AND at_ms >= ?2"
_RANGE = "commit_no > ?3 AND commit_no <= ?4"
_PAGE = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_KINDS} ORDER BY commit_no LIMIT ?5"
# SQLite uses a partial index only if its condition is in the query word for word.
_PAGE_NOTABLE = (
    f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_NOTABLE} AND {_KINDS} ORDER BY commit_no LIMIT ?5"
)
_LAST = "SELECT max(commit_no) FROM journal"
_SCANNED = "SELECT commit_no FROM journal WHERE commit_no > ? ORDER BY commit_no LIMIT 1 OFFSET ?"


@attrs.frozen
class Changes:
    """Reads all journals at once. Raises StorageUnavailable, StorageCorrupt."""

    _readers: TableReaders

    async def page(
        self, position: str, kinds: Collection[str], limit: int, *, since_ms: int = 0
    ) -> tuple[Sequence[Row], str]:
        """Return the next rows and the position after them. If the position stays the same, there is nothing more.

        Args:
            position: from the page before; `START` at the beginning.
            kinds: of events.
            limit: the most rows. A page may have fewer and not be the last.
            since_ms: leave out what is older.
        """
        return await self._readers.run(partial(_page, int(position), kinds, limit, since_ms))

    async def end(self) -> str:
        """Return the position after all rows that are there now."""
        return await self._readers.run(lambda connection: str(connection.execute(_LAST).get or START))


def _page(
    after: int, kinds: Collection[str], limit: int, since_ms: int, connection: Transaction
) -> tuple[list[Row], str]:
    notable = NOTABLE_KINDS.issuperset(kinds)
    # First the end, then the rows up to it: what is committed in between belongs to the next page.
    end = connection.execute(_LAST).get
    if end is None or end <= after:
        return [], str(after)
    if not notable and (scanned := connection.execute(_SCANNED, (after, SCAN_ROWS)).get) is not None:
        end = scanned
    bound = (json.dumps(sorted(kinds)), since_ms, after, end, limit)
    found = connection.execute(_PAGE_NOTABLE if notable else _PAGE, bound)
    rows = [Row(*columns) for columns in found]
    return rows, str(rows[-1].commit_no if len(rows) == limit else end)
