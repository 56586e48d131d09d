"""Copies a SQLite database into an empty PostgreSQL database, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import attrs
from psycopg import sql

from storage.errors import StorageCorrupt
from storage.postgres.connection import Connection, mapped_errors
from storage.postgres.opening import DatabaseOpening
from storage.schema import MIGRATIONS
from storage.sqlite.connection import mapped_errors as mapped_sqlite_errors
from storage.sqlite.connection import open_reader

__all__ = ["Copied", "copy_to_postgres"]

_TABLES: Final = (
    *(
        "session",
        "removal",
        "summary",
        "draft",
        "journal",
        "command",
        "device",
        "label",
        "upload",
        "upload_use",
    ),
    *("agent_offer", "pairing", "audit", "app_pair", "app_exchange", "app_known", "channel", "consumer"),
    *("alert", "delivery"),
)
_META: Final = (
    "SELECT key, value FROM meta WHERE key LIKE 'settled:%' OR key IN ('app_alias_key', 'audit_base')"
)
_SET_META: Final = """
INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_TEXTS: Final = """
SELECT search.rowid, journal.session_id, journal.seq, journal.kind, search.text
FROM search JOIN journal ON commit_no = search.rowid
"""
_ADD_TEXT: Final = """
INSERT INTO search (rowid, session_id, seq, kind, text, words) VALUES ($1, $2, $3, $4, $5, bos_words($5))
"""
_IS_USED: Final = "SELECT EXISTS (SELECT 1 FROM session) OR EXISTS (SELECT 1 FROM device)"
# Both databases count commits alike, and all copied rows are of one transaction.
_POSITIONS: Final = """
UPDATE consumer SET position = pg_current_xact_id()::text || ':' || position WHERE name = 'push'
"""
_NUMBERS: Final = (
    "SELECT setval('commit_no', greatest((SELECT max(commit_no) FROM journal), 1))",
    "SELECT setval(pg_get_serial_sequence('app_exchange', 'number'),"
    " greatest((SELECT max(number) FROM app_exchange), 1))",
)

PAGE_ROWS: Final = 500


@attrs.frozen
class Copied:
    """What was copied."""

    sessions: int
    events: int


def copy_to_postgres(database: Path, opening: DatabaseOpening) -> Copied:
    """Copy everything; afterwards the data folder names the PostgreSQL database. Blocks.

    All or nothing. No server may have either database. The SQLite file is only read.

    Raises:
        StorageCorrupt: the SQLite database is of another version, or the other one is not empty.
        StorageError: as `storage.postgres.opening.DatabaseOpening.first`.
    """
    source = open_reader(database)
    try:
        with mapped_sqlite_errors(database):
            if source.pragma("user_version") != len(MIGRATIONS):
                raise StorageCorrupt(
                    f"{database}: of another version; start the server once without --database"
                )
            target = opening.prepare()
            try:
                with mapped_errors(opening.server):
                    copied = _copy(source, target, opening)
                    opening.settle_home(target)
                    return copied
            finally:
                target.close()
    finally:
        source.close()


def _copy(source: apsw.Connection, target: Connection, opening: DatabaseOpening) -> Copied:
    with target.transaction():
        if _value(target, _IS_USED):
            raise StorageCorrupt(f"{opening.server.name}: it is not empty")
        counts = {table: _copy_table(source, target, table) for table in _TABLES}
        _insert(target, _SET_META, source.execute(_META))
        _insert(target, _ADD_TEXT, source.execute(_TEXTS))
        target.execute(_POSITIONS)
        for statement in _NUMBERS:
            target.execute(statement)
    target.execute("ANALYZE")
    return Copied(counts["session"], counts["journal"])


def _copy_table(source: apsw.Connection, target: Connection, table: str) -> int:
    names: Sequence[str] = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
    fields = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), fields)
    count = 0
    with target.cursor().copy(statement) as copying:
        for row in source.execute(f"SELECT {', '.join(names)} FROM {table}"):
            copying.write_row(row)
            count += 1
    return count


def _insert(target: Connection, statement: str, rows: Iterable[Any]) -> None:
    with target.cursor() as cursor:
        for page in _pages(rows):
            cursor.executemany(statement, page)


def _pages(rows: Iterable[Any]) -> Iterator[list[Any]]:
    page: list[Any] = []
    for row in rows:
        page.append(row)
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    if page:
        yield page


def _value(connection: Connection, statement: str) -> Any:
    found = connection.execute(statement).fetchone()
    assert found is not None
    return found[0]
