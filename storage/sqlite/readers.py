"""A pool of read-only connections, each used by one thread at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw
import attrs
import trio

from storage.sqlite.connection import mapped_errors, open_reader

__all__ = ["Readers"]

T = TypeVar("T")

READERS = 4
"""Concurrent reads. A read takes well under a millisecond; more threads would only wait for each other."""

INTERRUPT_S = 0.005
"""Seconds between two attempts to interrupt a read. An attempt between two statements has no effect."""


@attrs.define(eq=False)
class Readers:
    """The pool. A reader sees everything that was committed before its read began."""

    path: Path
    vfs: str | None = None
    size: int = READERS
    _idle: list[apsw.Connection] = attrs.field(factory=list, init=False)
    _limiter: trio.CapacityLimiter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Create the limiter of concurrent reads."""
        self._limiter = trio.CapacityLimiter(self.size)

    @property
    def running(self) -> int:
        """Number of reads that run on a thread now."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """Number of reads that wait for a connection."""
        return self._limiter.statistics().tasks_waiting

    async def run(self, read: Callable[[apsw.Connection], T]) -> T:
        """Call `read` on a thread with a connection of its own and return its result.

        `read` sees one state of the database only within one statement, or inside a transaction that it begins and ends
        itself. It must not leave a cursor open, since that would keep the WAL from shrinking.

        Cancellation: at any time. A running statement is interrupted, and the call returns only after `read` has ended.

        Raises:
            StorageCorrupt, StorageUnavailable: the file could not be read.
        """
        job = _Job(self, read)
        try:
            return await trio.to_thread.run_sync(job.run, limiter=self._limiter, abandon_on_cancel=True)
        finally:
            # Not bounded: SQLite ends an interrupted statement within milliseconds.
            with trio.CancelScope(shield=True):
                await job.stop()

    async def all(self, sql: str, bound: tuple[int | str | bytes | None, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one statement; raises and is cancelled like `run`."""
        return await self.run(lambda connection: connection.execute(sql, bound).fetchall())

    def close(self) -> None:
        """Close all connections. No read may be running. Idempotent."""
        while self._idle:
            self._idle.pop().close()

    def take(self) -> apsw.Connection:
        """Return an idle connection, or a new one. Blocks; on a reading thread only."""
        # list.pop and append are atomic, and the limiter keeps the number of connections below `size`.
        return self._idle.pop() if self._idle else open_reader(self.path, vfs=self.vfs)

    def give_back(self, connection: apsw.Connection) -> None:
        """Return a connection to the pool."""
        self._idle.append(connection)


@attrs.define(eq=False)
class _Job(Generic[T]):
    """One read: `run` is on its thread, `stop` on the event loop.

    `run` sets `running` before it checks `stopped`, and `stop` does the opposite: at least one sees the other.
    """

    readers: Readers
    read: Callable[[apsw.Connection], T]
    running: bool = False
    stopped: bool = False
    connection: apsw.Connection | None = None

    def run(self) -> T:
        self.running = True
        try:
            if self.stopped:
                raise trio.TooSlowError  # the caller no longer waits for the result
            with mapped_errors(self.readers.path):
                self.connection = self.readers.take()
                try:
                    return self.read(self.connection)
                finally:
                    self.readers.give_back(self.connection)
        finally:
            self.running = False

    async def stop(self) -> None:
        self.stopped = True
        while self.running:
            if self.connection is not None:
                self.connection.interrupt()
            await trio.sleep(INTERRUPT_S)
