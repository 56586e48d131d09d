"""Reads what people did from all journals: rows of a few kinds, over all sessions, with the device that did it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import apsw
import attrs

from storage.records import Row
from storage.sqlite.readers import Readers

__all__ = ["ActRow", "Acts"]

PAGE_ROWS: Final = 256

SCAN_ROWS: Final = 20_000
"""Rows that one read scans. It must not hold its view of the database for long, or the WAL grows."""

_COLUMNS = (
    "journal.session_id, seq, first_seq, turn_id, kind, journal.device_id, at_ms, payload, commit_no,"
    " label.device_id"
)
_FROM = "FROM journal LEFT JOIN label ON label.label = journal.device_id"
_KINDS = "kind IN (SELECT value FROM json_each(?1)) AND at_ms >= ?2"
_END = "SELECT commit_no FROM journal WHERE commit_no > ? ORDER BY commit_no LIMIT 1 OFFSET ?"
_ALL = f"SELECT {_COLUMNS} {_FROM} WHERE commit_no > ?3 AND commit_no <= ?4 AND {_KINDS} ORDER BY commit_no LIMIT ?5"
_ONE = f"SELECT {_COLUMNS} {_FROM} WHERE session_id = ?4 AND seq > ?3 AND {_KINDS} ORDER BY seq LIMIT ?5"
_NAMES = "SELECT id, name FROM device"

_LAST: Final = 2**63 - 1


@attrs.frozen
class ActRow:
    """A journal's row. `key_id`: the device whose key its label belongs to; None if that is not known."""

    row: Row
    key_id: str | None


@attrs.frozen
class Acts:
    """Reads all journals at once. Raises StorageUnavailable, StorageCorrupt."""

    _readers: Readers

    async def page(
        self, after: int, kinds: Collection[str], since_ms: int, session_id: str | None
    ) -> tuple[Sequence[ActRow], int | None]:
        """Return the next rows, and the place of the next page; None at the end. A page may be empty and not the last.

        Args:
            after: the place that the page before returned; 0 at the beginning.
            kinds: of events.
            since_ms: leave out what is older.
            session_id: only this session's, in the order of its journal; None for all, in the order of commits.
        """
        asked = json.dumps(sorted(kinds)), since_ms, after
        if session_id is not None:
            return await self._readers.run(partial(_one_session, asked, session_id))
        return await self._readers.run(partial(_all_sessions, asked))

    async def names(self) -> dict[str, str]:
        """Return the names of all devices, revoked ones too, by id."""
        return dict(await self._readers.all(_NAMES))


Asked = tuple[str, int, int]
Page = tuple[list[ActRow], int | None]


def _one_session(asked: Asked, session_id: str, connection: apsw.Connection) -> Page:
    rows = _rows(connection, _ONE, (*asked, session_id, PAGE_ROWS))
    return rows, rows[-1].row.seq if len(rows) == PAGE_ROWS else None


def _all_sessions(asked: Asked, connection: apsw.Connection) -> Page:
    end = connection.execute(_END, (asked[2], SCAN_ROWS)).get
    rows = _rows(connection, _ALL, (*asked, _LAST if end is None else end, PAGE_ROWS))
    if len(rows) == PAGE_ROWS:
        return rows, rows[-1].row.commit_no
    return rows, end


def _rows(connection: apsw.Connection, sql: str, bound: tuple[str | int, ...]) -> list[ActRow]:
    return [ActRow(Row(*columns[:-1]), columns[-1]) for columns in connection.execute(sql, bound)]
