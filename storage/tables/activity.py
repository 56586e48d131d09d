"""Reads what people did from all journals: rows of a few kinds, over all sessions, with the device that did it."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Final

import attrs

from storage.records import Row
from storage.tables.notifications.changes import Changes
from storage.transaction import TableReaders

__all__ = ["ActRow", "Acts"]

PAGE_ROWS: Final = 256

_COLUMNS = "session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, commit_no"
_KINDS = "kind IN (SELECT value FROM json_each(?1)) AND at_ms >= ?2"
_ONE = f"SELECT {_COLUMNS} FROM journal WHERE session_id = ?4 AND seq > ?3 AND {_KINDS} ORDER BY seq LIMIT ?5"
_KEYS = "SELECT label, device_id FROM label WHERE label IN (SELECT value FROM json_each(?))"
_NAMES = "SELECT id, name FROM device"


@attrs.frozen
class ActRow:
    """A journal's row. `key_id`: the device whose key its label belongs to; None if that is not known."""

    row: Row
    key_id: str | None


@attrs.frozen
class Acts:
    """Reads all journals at once. Raises StorageUnavailable, StorageCorrupt."""

    _readers: TableReaders
    _changes: Changes

    async def page(
        self, after: str, kinds: Collection[str], since_ms: int, session_id: str | None
    ) -> tuple[Sequence[ActRow], str | None]:
        """Return the next rows, and the place of the next page; None at the end. A page may be empty and not the last.

        Args:
            after: the place that the page before returned; `START` at the beginning.
            kinds: of events.
            since_ms: leave out what is older.
            session_id: only this session's, in the order of its journal; None for all, in the order of commits.
        """
        if session_id is not None:
            asked = json.dumps(sorted(kinds)), since_ms, int(after), session_id, PAGE_ROWS
            rows: Sequence[Row] = [Row(*one) for one in await self._readers.all(_ONE, asked)]
            place = str(rows[-1].seq) if len(rows) == PAGE_ROWS else None
        else:
            rows, end = await self._changes.page(after, kinds, PAGE_ROWS, since_ms=since_ms)
            place = end if end != after else None
        return await self._with_keys(rows), place

    async def _with_keys(self, rows: Sequence[Row]) -> Sequence[ActRow]:
        labels = sorted({row.device_id for row in rows if row.device_id is not None})
        found = await self._readers.all(_KEYS, (json.dumps(labels),)) if labels else []
        keys = dict(found)
        return [ActRow(row, keys.get(row.device_id)) for row in rows]

    async def names(self) -> dict[str, str]:
        """Return the names of all devices, revoked ones too, by id."""
        return dict(await self._readers.all(_NAMES))
