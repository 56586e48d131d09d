"""A few connections that only read, each used by one thread at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import attrs
import trio

from storage.sqlite.connection import mapped_errors, open_reader

__all__ = ["Readers"]

T = TypeVar("T")

READERS = 4
"""Reads at once. A read takes well under a millisecond; more threads would only wait for each other."""


@attrs.define(eq=False)
class Readers:
    """The pool. A reader sees everything that was committed before its read began."""

    path: Path
    vfs: str | None = None
    _idle: list[apsw.Connection] = attrs.field(factory=list, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(READERS), init=False)

    async def run(self, read: Callable[[apsw.Connection], T]) -> T:
        """Call `read` on a thread with a connection of its own and return its result.

        `read` sees one state of the database only within one statement, or inside a transaction that it
        begins and ends itself; it must leave no cursor open, since that would keep the WAL from shrinking.

        Cancellation: while it waits for its turn; once begun it runs to its end.

        Raises:
            StorageCorrupt, StorageUnavailable: the file could not be read.
        """
        return await trio.to_thread.run_sync(self._read, read, limiter=self._limiter)

    async def all(self, sql: str, bound: tuple[int | str, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one statement; `run` says the rest."""
        return await self.run(lambda connection: connection.execute(sql, bound).fetchall())

    def close(self) -> None:
        """Close all connections. No read may be running. Idempotent."""
        while self._idle:
            self._idle.pop().close()

    def _read(self, read: Callable[[apsw.Connection], T]) -> T:
        with mapped_errors(self.path):
            # list.pop and append are atomic, and the limiter keeps their number below READERS.
            connection = self._idle.pop() if self._idle else open_reader(self.path, vfs=self.vfs)
            try:
                return read(connection)
            finally:
                self._idle.append(connection)
