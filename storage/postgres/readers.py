"""A pool of connections that only read, each used by one thread at a time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import attrs
import psycopg
import trio

from storage.errors import StorageUnavailable
from storage.postgres.connection import (
    ANSWER_S,
    Connection,
    PostgresServer,
    Silent,
    connect,
    is_lost,
    mapped_errors,
)
from storage.postgres.transaction import PostgresTransaction
from storage.transaction import Value

__all__ = ["READERS", "PostgresReaders"]

T = TypeVar("T")

READERS: Final = 4
"""Concurrent reads."""

INTERRUPT_S: Final = 0.05
"""Seconds between two attempts to interrupt a read. An attempt between two statements has no effect."""

TURN_S: Final[float] = 10
"""Seconds that a read waits for a connection at most."""

HEARD_S: Final = 2.0
"""Seconds that an attempt may take; a server that hangs does not hear it."""


_NO_LIMIT: Final = trio.CapacityLimiter(math.inf)  # a pool has its own


@attrs.define(eq=False)
class PostgresReaders:
    """The pool. A reader sees everything that was committed before its read began.

    Attributes:
        settings: of the server, for each connection.
        answer_s: how long a read may wait for the answer to a statement; None: without a limit.
    """

    server: PostgresServer
    application: str
    size: int = READERS
    settings: str = ""
    answer_s: float | None = ANSWER_S
    _idle: list[Connection] = attrs.field(factory=list, init=False)
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

    async def run(self, read: Callable[[PostgresTransaction], T]) -> T:
        """Call `read` on a thread with a connection of its own and return its result.

        `read` sees one state of the database only within one statement, or inside a transaction that it begins and ends
        itself. If its connection was lost while it was idle, `read` is called once more, with a new one.

        Cancellation: at any time. A running statement is interrupted, and the call returns only after `read` has ended.

        Raises:
            StorageUnavailable: the database could not be read.
        """
        job = _Job(self, read)
        with trio.move_on_after(TURN_S) as turn:
            await self._limiter.acquire_on_behalf_of(job)
        if turn.cancelled_caught:
            raise StorageUnavailable(
                f"{self.server.name}: it does not answer; {self.waiting} more reads wait"
            )
        try:
            return await trio.to_thread.run_sync(job.run, limiter=_NO_LIMIT, abandon_on_cancel=True)
        finally:
            # Bounded by `answer_s`: the server ends an interrupted statement at once, or does not answer at all.
            with trio.CancelScope(shield=True):
                await job.stop()
            self._limiter.release_on_behalf_of(job)

    async def all(self, sql: str, bound: tuple[Value, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of one statement; raises and is cancelled like `run`."""
        return await self.run(lambda transaction: transaction.execute(sql, bound).fetchall())

    def close(self) -> None:
        """Close all connections. No read may be running. Idempotent."""
        while self._idle:
            self._idle.pop().close()

    def take(self) -> tuple[Connection, bool]:
        """Return an idle connection, or a new one, and whether it was idle. Blocks; on a reading thread only."""
        # list.pop and append are atomic, and the limiter keeps the number of connections below `size`.
        if self._idle:
            return self._idle.pop(), True
        return self.open(), False

    def open(self) -> Connection:
        """Return a new connection. Blocks."""
        return connect(self.server, self.application, self.settings, answer_s=self.answer_s)

    def give_back(self, connection: Connection) -> None:
        """Return a connection to the pool, if it is of use."""
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
        else:
            self._idle.append(connection)


@attrs.define(eq=False)
class _Job(Generic[T]):
    """One read: `run` is on its thread, `stop` on the event loop.

    The lock keeps a connection out of the pool while it is being interrupted: else that could hit the next read.
    """

    readers: PostgresReaders
    read: Callable[[PostgresTransaction], T]
    running: bool = False
    stopped: bool = False
    connection: Connection | None = None
    lock: threading.Lock = attrs.field(factory=threading.Lock)

    def run(self) -> T:
        self.running = True
        try:
            with mapped_errors(self.readers.server):
                if self.stopped:
                    raise trio.TooSlowError  # the caller no longer waits for the result
                self.connection, was_idle = self.readers.take()
                try:
                    return self._read()
                except psycopg.Error as error:
                    if not was_idle or not self._may_repeat(error):
                        raise
                    self._give_back()
                    self.connection = self.readers.open()
                    return self._read()
                finally:
                    self._give_back()
        finally:
            self.running = False

    def _read(self) -> T:
        assert self.connection is not None
        return self.read(PostgresTransaction(self.connection))

    def _may_repeat(self, error: psycopg.Error) -> bool:
        if self.stopped or self.connection is None or isinstance(error, Silent):
            return False
        return is_lost(self.connection, error)

    def _give_back(self) -> None:
        with self.lock:
            connection, self.connection = self.connection, None
        if connection is not None and self.stopped:
            connection.close()
        elif connection is not None:
            self.readers.give_back(connection)

    def _interrupt(self) -> None:
        with self.lock:
            if self.connection is not None:
                with suppress(psycopg.Error):  # it is tried again, or the read ends by itself
                    self.connection.cancel_safe(timeout=HEARD_S)

    async def stop(self) -> None:
        self.stopped = True
        while self.running:
            await trio.to_thread.run_sync(self._interrupt)
            await trio.sleep(INTERRUPT_S)
