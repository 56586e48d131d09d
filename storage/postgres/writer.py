"""The writer of PostgreSQL: a batch is one transaction, and a batch of appends is one round trip.

Other nodes write to the same database. A job that met one of their transactions runs again, alone.

A `Call` is one statement whose result says what happened, so it needs no answer before the next one is sent. A job of
another kind looks at its results; each has its own savepoint, as in SQLite. All commits are durable.

The connection holds a lock of the database as long as it lasts, so two servers never write to one database. After a
lost connection the next batch opens another. If another server had the database meanwhile, this one ends.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import attrs
import outcome
import psycopg
import trio

from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable
from storage.group_writer import GroupWriter, Job, copy_error
from storage.postgres.connection import Connection, PostgresServer, is_lost, storage_error
from storage.postgres.transaction import PostgresTransaction

__all__ = ["Call", "PostgresWriter"]

T = TypeVar("T")

TRIES: Final = 10
"""How often a job that meets transactions of other nodes is tried."""

_MET: Final = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.UniqueViolation,  # of a number that is one above the highest, as in the audit
)


@attrs.frozen
class Call:
    """One statement, in PostgreSQL's own words, that reports failures in its one value and does not raise them.

    Attributes:
        bound: makes the parameters, on the writer's thread.
        finish: gets the value, on the writer's thread; returns the job's result or raises its error.
    """

    sql: str
    bound: Callable[[], tuple[Any, ...]]
    finish: Callable[[Any], Any]


@attrs.define(eq=False)
class PostgresWriter(GroupWriter[PostgresTransaction]):
    """Runs jobs on the one connection that writes.

    Attributes:
        reopen: opens that connection again, with its lock. Blocks. Raises StorageUnavailable if it cannot now, and
            DatabaseInUse if another server had the database.
    """

    server: PostgresServer
    _connection: Connection | None
    _reopen: Callable[[], Connection]
    _unsettled: bool = attrs.field(default=False, init=False)
    name: str = attrs.field(init=False)

    @name.default
    def _own_name(self) -> str:
        return self.server.name

    async def call(self, call: Call, *, rows: int, size: int) -> Any:
        """Run a statement, durably. Otherwise like `submit`."""
        job = Job(call, trio.lowlevel.current_task(), durable=True, rows=rows, size=size)
        return cast("Any", await self._queue(job))

    async def settle(self) -> None:
        """Return once no commit is under way any more, after one whose answer was lost: until then a reader may not see
        what it stores. Raises StorageUnavailable if nobody can know that yet."""
        await trio.lowlevel.checkpoint()
        if self._unsettled:
            await self.submit(lambda _: None, durable=True)

    def close_connection(self) -> None:
        """Close the connection, after `close`. Blocks briefly. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # From here on: the writer's thread.

    def _commit(self, batch: list[Job]) -> None:
        try:
            connection = self._connected()
        except StorageUnavailable as error:
            self._fail(batch, error)
            return
        if all(isinstance(job.work, Call) for job in batch):
            self._send(connection, batch)
        else:
            self._run(connection, batch)

    def _connected(self) -> Connection:
        if self._connection is not None and not _is_open(self._connection):
            self.close_connection()
        if self._connection is None:
            self._connection = self._reopen()
            self._unsettled = False  # it has the lock, which the lost connection held
        return self._connection

    def _send(self, connection: Connection, batch: list[Job]) -> None:
        """Run calls only: all are sent before the first answer is read."""
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                cursors = [connection.execute(job.work.sql, job.work.bound(), binary=True) for job in batch]
                connection.execute("COMMIT")
        except Exception as error:
            if isinstance(error, psycopg.Error) and is_lost(connection, error):
                self._lose(batch)
                return
            # Nothing was stored. Alone, each job gets the error that is its own.
            self._roll_back(connection)
            for job in batch:
                self._commit_alone(job)
            return
        for job, cursor in zip(batch, cursors, strict=True):
            job.result = outcome.capture(_finished, job.work, cursor)
        self._count(batch)

    def _run(self, connection: Connection, batch: list[Job], tries: int = TRIES) -> None:
        """Run jobs one after the other. An error undoes only its own job."""
        committing = False
        try:
            connection.execute("BEGIN")
            for job in batch:
                self._run_job(connection, job, alone=len(batch) == 1, last=tries == 1)
            committing = True
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if committing and is_lost(connection, error):
                self._lose(batch)
                return
            if isinstance(error, _MET) and tries > 1:
                self._roll_back(connection)
                for job in batch:
                    job.result = None
                    self._commit_alone(job, tries - 1)
                return
            self._fail(batch, self._role(error))
            self._roll_back(connection)
            return
        self._count(batch)

    def _run_job(self, connection: Connection, job: Job, *, alone: bool, last: bool) -> None:
        """Raises psycopg.Error if the connection is lost, or the job must run again alone."""
        if not alone:
            connection.execute("SAVEPOINT job")
        try:
            if isinstance(job.work, Call):
                cursor = connection.execute(job.work.sql, job.work.bound(), binary=True)
                job.result = outcome.Value(_finished(job.work, cursor))
            else:
                job.result = outcome.Value(job.work(PostgresTransaction(connection)))
        except Exception as error:  # any error of a job belongs to its caller
            if isinstance(error, psycopg.Error) and is_lost(connection, error):
                raise
            if isinstance(error, _MET) and not last:
                raise
            own = self._role(error) if isinstance(error, psycopg.Error) else error
            job.result = outcome.Error(own)
            connection.execute("ROLLBACK" if alone else "ROLLBACK TO job")
        if not alone:
            connection.execute("RELEASE job")

    def _commit_alone(self, job: Job, tries: int = TRIES) -> None:
        try:
            self._run(self._connected(), [job], tries)
        except StorageUnavailable as error:
            self._fail([job], error)

    def _run_alone(self, job: Job) -> None:
        self._commit_alone(job)

    def _roll_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except psycopg.Error:
            self.close_connection()  # the server rolls back what it has not committed

    def _role(self, error: psycopg.Error) -> StorageError:
        role = storage_error(error, self.server)
        role.__suppress_context__ = True  # its text may contain what was to be stored
        return role

    def _lose(self, batch: list[Job]) -> None:
        self._unsettled = True  # before anybody hears of it
        self._fail(batch, OutcomeUnknown(f"{self.name}: the connection was lost during COMMIT"))
        self.close_connection()

    def _fail(self, batch: list[Job], error: StorageError) -> None:
        """Every job without an error of its own fails with `error`."""
        for job in batch:
            if not isinstance(job.result, outcome.Error):
                job.result = outcome.Error(copy_error(error))
        self._done += len(batch)

    def _count(self, batch: list[Job]) -> None:
        self._done += len(batch)
        self._commits += 1
        self._synced += 1


def _finished(call: Call, cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    row = cursor.fetchone()
    assert row is not None
    return call.finish(row[0])


def _is_open(connection: Connection) -> bool:
    """Return False if the server has closed an idle connection."""
    if connection.closed:
        return False
    waiting = select.poll()  # `select.select` takes no descriptor above 1,023
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
    return bool(connection.pgconn.status == psycopg.pq.ConnStatus.OK)
