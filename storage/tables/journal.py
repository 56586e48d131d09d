"""The journal: `Journal` and `Ownership` of `actors.ports`, and all of it that is SQLite's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial

import attrs
import trio

from storage.errors import SessionMissing
from storage.records import CommandRecord, Entry, Fold, Grant, Head, Row, Summary
from storage.tables.append import Append, append
from storage.transaction import Rows, TableReaders, TableWriter, Transaction

__all__ = ["MAX_SEQ", "MESSAGE_KINDS", "PAGE_BYTES", "RARE_KINDS", "SqliteJournal", "TableJournal"]

PAGE_BYTES = 256 * 1024
"""A page of `read` ends once its payloads exceed this. It bounds what one reader holds in memory: the rows, their
decoded form and the frames, so several times this."""

ENTRY_BYTES = 200
"""Approximate cost of a row beside its payload: its keys, and its places in the indexes."""

MESSAGE_KINDS = frozenset({"user_message", "turn_started"})
"""The kinds in the index `journal_message` (see `storage.schema`)."""

RARE_KINDS = frozenset(
    {"user_message", "task_started", "task_finished", "permission_requested", "permission_resolved"}
)
"""The kinds in the index `journal_rare`."""

_COLUMNS = "session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, commit_no"
_RANGE = "session_id = ?1 AND seq > ?2 AND seq < ?3"
_READ = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} ORDER BY seq LIMIT ?4"
_READ_NEWEST = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} ORDER BY seq DESC LIMIT ?4"
_KINDS = "kind IN (SELECT value FROM json_each(?5))"
_READ_KINDS = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_KINDS} ORDER BY seq LIMIT ?4"
_READ_KINDS_NEWEST = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_KINDS} ORDER BY seq DESC LIMIT ?4"
# SQLite uses a partial index only if its condition is in the query word for word.
_MESSAGES = "kind IN ('user_message', 'turn_started')"
_NO_PIECES = "kind NOT IN ('message', 'thinking')"
_READ_MESSAGES = (
    f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_MESSAGES} AND {_KINDS} ORDER BY seq LIMIT ?4"
)
_READ_MESSAGES_NEWEST = (
    f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_MESSAGES} AND {_KINDS} ORDER BY seq DESC LIMIT ?4"
)
_RARE = (
    "kind IN ('user_message', 'task_started', 'task_finished', 'permission_requested', 'permission_resolved')"
)
_READ_RARE = f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_RARE} AND {_KINDS} ORDER BY seq LIMIT ?4"
_READ_RARE_NEWEST = (
    f"SELECT {_COLUMNS} FROM journal WHERE {_RANGE} AND {_RARE} AND {_KINDS} ORDER BY seq DESC LIMIT ?4"
)
_HEAD = "SELECT epoch, head_seq FROM session WHERE session_id = ?"
_COMMANDS = """
SELECT command_id, seq, state FROM command
WHERE session_id = ? AND command_id IN (SELECT value FROM json_each(?))
"""
# One look-up for each turn, however many rows it has.
_FIRST_OF_TURNS = f"""
SELECT min(first_seq) FROM (
  SELECT (SELECT first_seq FROM journal
          WHERE session_id = ?1 AND {_NO_PIECES} AND turn_id = started.turn_id
          ORDER BY seq LIMIT 1) AS first_seq
  FROM journal AS started
  WHERE session_id = ?1 AND {_MESSAGES} AND kind = 'turn_started' AND turn_id IS NOT NULL
  ORDER BY seq DESC LIMIT ?2) AS begun
"""
_ACQUIRE = """
UPDATE session SET owner_epoch = owner_epoch + 1 WHERE session_id = ? RETURNING owner_epoch, head_seq
"""
_PROBE = "INSERT INTO meta (key, value) VALUES ('probe', hex(zeroblob(32768)))"
_PROBE_DONE = "DELETE FROM meta WHERE key = 'probe'"
_PROBE_COUNT = """
INSERT INTO meta (key, value) VALUES ('probes', '1')
ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
"""

MAX_SEQ = 2**63 - 1


def _ignore(session_id: str, head_seq: int, took_s: float, kinds: Collection[str]) -> None:
    pass


@attrs.define(eq=False)
class TableJournal:
    """What the journals of all databases have in common: `Journal` and `Ownership` of `actors.ports`; see there.

    Attributes:
        on_append: called after each append with the session's id, its new head, the seconds since the append was
            handed over, and the kinds of its events. It must not block.
    """

    _writer: TableWriter
    _readers: TableReaders
    on_append: Callable[[str, int, float, Collection[str]], None] = attrs.field(default=_ignore, kw_only=True)

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        """Append, fold and store the summary: all or nothing.

        Raises:
            FoldMismatch: beside the errors of the port: a fold cuts through a row.
        """
        folded = sum(part.last_seq - part.first_seq + 1 for part in fold)
        rows = len(entries) + folded
        size = rows * ENTRY_BYTES + sum(len(entry.payload) for entry in entries)
        job = Append(grant, expected_seq, entries, fold, summary)
        began = trio.current_time()
        head = await self._append(job, durable=durable, rows=rows, size=size)
        took_s = trio.current_time() - began
        self.on_append(grant.session_id, head, took_s, [entry.kind for entry in entries])
        return head

    async def _append(self, job: Append, *, durable: bool, rows: int, size: int) -> int:
        raise NotImplementedError

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
        raise NotImplementedError

    async def check_writable(self) -> None:
        """Raise StorageUnavailable unless a write would be stored now."""
        raise NotImplementedError

    async def head(self, session_id: str) -> Head:
        """Return the committed end of a session."""
        found = await self._readers.run(lambda connection: connection.execute(_HEAD, (session_id,)).get)
        if found is None:
            raise SessionMissing(session_id)
        return Head(*found)

    async def find_commands(self, session_id: str, command_ids: Sequence[str]) -> dict[str, CommandRecord]:
        """Return the records of these commands."""
        bound = (session_id, json.dumps(list(command_ids)))
        rows = await self._readers.all(_COMMANDS, bound)
        return {row[0]: CommandRecord(*row) for row in rows}

    async def first_seq_of_turns(self, session_id: str, count: int) -> int:
        """Return the seq at which the last `count` started turns begin. Raises SessionMissing."""
        head, first = await self._readers.run(
            lambda connection: _first_of_turns(connection, session_id, count)
        )
        return head + 1 if first is None else first

    async def acquire(self, session_id: str) -> Grant:
        """Take over the session.

        Without fsync: a power cut ends every older owner too, so grants cannot collide.
        """
        return await self._writer.submit(partial(_acquire, session_id), durable=False)


@attrs.define(eq=False)
class SqliteJournal(TableJournal):
    """The journal in SQLite. `next_commit_no`: gives each row its number, which rises over all sessions."""

    _next_commit_no: Callable[[], int]

    async def _append(self, job: Append, *, durable: bool, rows: int, size: int) -> int:
        work = partial(append, job, self._next_commit_no)
        return await self._writer.submit(work, durable=durable, rows=rows, size=size)

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
        sql = _choose(kinds, newest=newest)
        bound: tuple[int | str, ...] = (session_id, after, MAX_SEQ if before is None else before, limit)
        if kinds is not None:
            bound = (*bound, json.dumps(sorted(kinds)))
        rows = await self._readers.run(lambda connection: _page(connection.execute(sql, bound)))
        return rows[::-1] if newest else rows

    async def check_writable(self) -> None:
        """Allocate and release a few pages and change one: both the file and the WAL must have room."""
        await self._writer.submit(_probe, durable=True, rows=1)


def _choose(kinds: Collection[str] | None, *, newest: bool) -> str:
    if kinds is None:
        return _READ_NEWEST if newest else _READ
    if MESSAGE_KINDS.issuperset(kinds):
        return _READ_MESSAGES_NEWEST if newest else _READ_MESSAGES
    if RARE_KINDS.issuperset(kinds):
        return _READ_RARE_NEWEST if newest else _READ_RARE
    return _READ_KINDS_NEWEST if newest else _READ_KINDS


def _page(found: Rows) -> list[Row]:
    rows: list[Row] = []
    size = 0
    for columns in found:
        rows.append(Row(*columns))
        size += len(columns[7])
        if size > PAGE_BYTES:
            break
    found.close(True)
    return rows


def _first_of_turns(connection: Transaction, session_id: str, count: int) -> tuple[int, int | None]:
    # The turns first: commits between the two statements can only raise the head above them.
    first = connection.execute(_FIRST_OF_TURNS, (session_id, count)).get
    head = connection.execute(_HEAD, (session_id,)).get
    if head is None:
        raise SessionMissing(session_id)
    return head[1], first


def _acquire(session_id: str, connection: Transaction) -> Grant:
    found = connection.execute(_ACQUIRE, (session_id,)).get
    if found is None:
        raise SessionMissing(session_id)
    return Grant(session_id, *found)


def _probe(connection: Transaction) -> None:
    connection.execute(_PROBE)
    connection.execute(_PROBE_DONE)
    connection.execute(_PROBE_COUNT)
