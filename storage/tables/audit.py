"""The audit: sign-ins, failed sign-ins, and acts that no journal records. An append-only table with a hash chain.

A file beside the database records the end of the chain too. If the table was cut short, or replaced by an older state,
it no longer has the row that the file names.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from storage.errors import StorageError
from storage.sqlite.replace import write_note
from storage.tables.hash_chain import START, Act, AuditRow, Mark, check_chain, hash_of_row
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["AUDIT_SCHEMA", "HEAD_NAME", "MAX_ROWS", "Audit", "append_acts", "read_noted_head", "verify_audit"]

AUDIT_SCHEMA = """
-- One row after the other, never changed; each one's hash covers the one before. The oldest go once there are
-- too many, and `meta` then says where the chain begins.
CREATE TABLE audit (
  number     INTEGER PRIMARY KEY,
  at_ms      INTEGER NOT NULL,
  act        TEXT NOT NULL,
  device_id  TEXT,
  address    TEXT,
  session_id TEXT,
  subject    TEXT,
  count      INTEGER NOT NULL,
  hash       BLOB NOT NULL
) STRICT;
"""

MAX_ROWS: Final = 200_000
"""Rows that are kept, about 40 MB."""

SPARE_ROWS: Final = 1_000
"""Rows that are dropped at once, so that few transactions do it."""

PAGE_ROWS: Final = 1_000

HEAD_NAME: Final = "audit-head"
"""The file's name in the data folder."""

HEAD_BYTES: Final = 256

_COLUMNS = "number, at_ms, act, device_id, address, session_id, subject, count, hash"
_LAST = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1"
_FIRST = "SELECT min(number) FROM audit"
_ADD = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PAGE = f"SELECT {_COLUMNS} FROM audit WHERE number > ? ORDER BY number LIMIT {PAGE_ROWS}"
_HASH = "SELECT hash FROM audit WHERE number = ?"
_FORGET = "DELETE FROM audit WHERE number <= ?"
_META = "SELECT value FROM meta WHERE key = 'audit_base'"
_SET_META = """
INSERT INTO meta (key, value) VALUES ('audit_base', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_ADDRESSES = """
SELECT DISTINCT address FROM audit
WHERE act = ? AND at_ms >= ? AND address IS NOT NULL LIMIT ?
"""

_log = logging.getLogger("builderos.storage")


@attrs.define(eq=False)
class Audit:
    """The table. A caller that stores an act calls `note_head` once that is committed."""

    data: Path
    _writer: TableWriter
    _readers: TableReaders
    _noting: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def append(self, acts: Sequence[Act]) -> None:
        """Store acts, durably and in this order, and record the end.

        Cancellation: only if nothing was stored, so a cancelled caller may store them again.

        Raises:
            StorageUnavailable: they were not stored.
        """
        await self._writer.submit(partial(append_acts, acts), durable=True, rows=len(acts))
        with trio.CancelScope(shield=True):
            await self.note_head()

    async def note(self, act: Act) -> None:
        """Store an act that is done already. A failure is logged, since the act cannot be undone."""
        try:
            await self.append([act])
        except StorageError as failed:
            _log.error("%s by %s is not in the audit: %s", act.act, act.device_id, failed)

    async def note_head(self) -> None:
        """Write the end of the chain into its file. A failure is logged, not raised."""
        async with self._noting:  # so that no older end is written over a newer one
            try:
                head = await self._readers.run(read_head)
                await trio.to_thread.run_sync(write_note, self.data / HEAD_NAME, str(head))
            except StorageError as failed:
                _log.warning("audit: cannot record its end: %s", failed)

    async def check_head(self, *, now_ms: int, joins: bool = False) -> None:
        """Compare the end with the recorded one; if they differ, add a row about it. For start-up.

        `joins`: the folder is new to a database that others use. It cannot have recorded an end, and does so now.

        Raises:
            StorageUnavailable: the table cannot be read or written.
        """
        recorded = await trio.to_thread.run_sync(read_noted_head, self.data)
        if recorded is None and joins:
            await self.note_head()
            return
        found = await self._readers.run(lambda connection: _has(connection, recorded))
        if not found:
            _log.warning("audit: cut short or replaced by an older one: row %s is missing", recorded)
            await self.append([Act(at_ms=now_ms, act="audit_cut", subject=str(recorded))])

    async def addresses(self, act: str, since_ms: int, limit: int) -> Sequence[str]:
        """Return the addresses that did an act since a moment."""
        return [row[0] for row in await self._readers.all(_ADDRESSES, (act, since_ms, limit))]

    async def page(self, after: int) -> Sequence[AuditRow]:
        """Return the next rows after a number; empty at the end."""
        return [_row(row) for row in await self._readers.all(_PAGE, (after,))]

    async def base(self) -> Mark:
        """Return the mark before the first row."""
        return await self._readers.run(_base)

    async def verify(self) -> list[str]:
        """Return what is wrong with the chain, as `verify_audit`."""
        return await self._readers.run(partial(verify_audit, self.data))


def append_acts(acts: Sequence[Act], connection: Transaction) -> None:
    """Store acts on the writer's thread, with what else its transaction does."""
    last = read_head(connection)
    for act in acts:
        number = last.number + 1
        digest = hash_of_row(last.hash, number, act)
        connection.execute(_ADD, (number, *attrs.astuple(act), digest))
        last = Mark(number, digest)
    first = connection.execute(_FIRST).get
    if first is not None and last.number - first >= MAX_ROWS:
        _forget(last.number - MAX_ROWS + SPARE_ROWS, connection)


def _forget(number: int, connection: Transaction) -> None:
    """Remove the rows up to a number, and note the last one's hash: the chain begins behind it."""
    base = Mark(number, connection.execute(_HASH, (number,)).get)
    connection.execute(_SET_META, (str(base),))
    connection.execute(_FORGET, (number,))


def verify_audit(data: Path, connection: Transaction) -> list[str]:
    """Return the faults of the audit, a line each; empty if the chain is whole up to its recorded end.

    Blocks: some seconds for a full table. Reads one state, in a transaction of its own.

    Args:
        data: the data folder, for the recorded end.
        connection: of the database; only read.
    """
    connection.execute("BEGIN")
    try:
        recorded = read_noted_head(data)
        base, head = _base(connection), read_head(connection)
        rows = (_row(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM audit ORDER BY number"))
        faults = check_chain(rows, base, recorded)
    finally:
        connection.execute("COMMIT")
    if recorded is None and head != START:
        faults.append(f"the record of its end, {HEAD_NAME}, is missing or damaged")
    return faults


def read_head(connection: Transaction) -> Mark:
    """Return the end of the chain."""
    last = connection.execute(_LAST).get
    return _base(connection) if last is None else Mark(*last)


def read_noted_head(data: Path) -> Mark | None:
    """Return the end that the file records; None if it does not. Blocks briefly."""
    try:
        with (data / HEAD_NAME).open(encoding="ascii") as file:
            return Mark.parse(file.read(HEAD_BYTES))
    except (OSError, UnicodeDecodeError):
        return None


def _base(connection: Transaction) -> Mark:
    text = connection.execute(_META).get
    return (Mark.parse(text) if text is not None else None) or START


def _has(connection: Transaction, mark: Mark | None) -> bool:
    """Return whether the chain has a mark; if no mark was recorded, whether the chain is empty."""
    if mark is None:
        return read_head(connection) == START
    if mark == _base(connection):
        return True
    digest: bytes | None = connection.execute(_HASH, (mark.number,)).get
    return digest == mark.hash


def _row(columns: tuple[object, ...]) -> AuditRow:
    number, *fields, digest = columns
    names = [field.name for field in attrs.fields(Act)]
    return AuditRow(number, Act(**dict(zip(names, fields, strict=True))), digest)  # type: ignore[arg-type]
