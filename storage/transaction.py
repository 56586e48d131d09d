"""What the tables need of a database: a transaction to run SQL in, a writer, and readers.

SQLite (`storage.sqlite`) and PostgreSQL (`storage.postgres`) both give these, so each table is written once. Its SQL
must mean the same to both: parameters are `?` or `?1`; `json_each(?)` turns a JSON list into rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

__all__ = ["Rows", "TableReaders", "TableWriter", "Transaction", "Value"]

T = TypeVar("T")
Value = int | str | bytes | None


class Rows(Protocol):
    """The result of one statement."""

    @property
    def get(self) -> Any:
        """The first row, or its only value if it has one column; None if there is no row."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        ...

    def __iter__(self) -> Iterator[Any]: ...

    def close(self, force: bool = ..., /) -> None:
        """Leave the rest of the rows."""
        ...


class Transaction(Protocol):
    """A connection on a thread. On the writer's thread a transaction is open; a reader sees one state a statement."""

    def execute(self, statements: str, bindings: tuple[Any, ...] | None = None, /) -> Rows:
        """Run one statement. Blocks. The errors are those of the database; writer and readers map them."""
        ...

    def changes(self) -> int:
        """Return how many rows the last statement wrote or deleted."""
        ...


class TableWriter(Protocol):
    """The one writer of a store; see `storage.group_writer`."""

    async def submit(
        self, work: Callable[[Transaction], T], *, durable: bool, rows: int = 1, size: int = 0
    ) -> T:
        """Run `work` in a transaction; return once it is committed. Raises as `storage.group_writer`."""
        ...


class TableReaders(Protocol):
    """A pool of connections that only read."""

    @property
    def running(self) -> int:
        """Number of reads that run on a thread now."""
        ...

    @property
    def waiting(self) -> int:
        """Number of reads that wait for a connection."""
        ...

    async def run(self, read: Callable[[Transaction], T]) -> T:
        """Call `read` on a thread. Cancellation: at any time. Raises StorageCorrupt, StorageUnavailable."""
        ...

    async def all(self, sql: str, bound: tuple[Value, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one statement; raises and is cancelled like `run`."""
        ...
