"""`storage.transaction` over a connection to PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import attrs
import psycopg

from storage.postgres.connection import Connection

__all__ = ["PostgresRows", "PostgresTransaction", "translated"]

_PARAMETER: Final = re.compile(r"'[^']*'|\?(\d*)")


@attrs.frozen
class PostgresRows:
    """The result of one statement, which is in memory already."""

    cursor: psycopg.Cursor[tuple[Any, ...]]

    @property
    def get(self) -> Any:
        """The first row, or its only value if it has one column; None if there is no row."""
        if self.cursor.description is None or (row := self.cursor.fetchone()) is None:
            return None
        return row[0] if len(row) == 1 else row

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        return [] if self.cursor.description is None else self.cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    def close(self, force: bool = False, /) -> None:
        """Leave the rest of the rows."""
        self.cursor.close()


@attrs.define(eq=False)
class PostgresTransaction:
    """Runs statements of the tables on a connection."""

    connection: Connection
    _changes: int = attrs.field(default=0, init=False)

    def execute(self, statements: str, bindings: tuple[Any, ...] | None = None, /) -> PostgresRows:
        """Run one statement. Blocks. Raises psycopg.Error."""
        cursor = self.connection.execute(translated(statements), bindings or None, binary=True)
        self._changes = cursor.rowcount
        return PostgresRows(cursor)

    def changes(self) -> int:
        """Return how many rows the last statement wrote or deleted."""
        return self._changes


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """Return a statement with PostgreSQL's parameters: `?` and `?2` become `$1` and `$2`, outside of quotes."""
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            return found[0]
        count += 1
        return f"${found[1] or count}"

    return _PARAMETER.sub(number, sql)
