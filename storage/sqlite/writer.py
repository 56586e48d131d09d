"""The writer of SQLite: each job of a batch has its own savepoint, so a failing one fails alone."""

from __future__ import annotations

from pathlib import Path

import apsw
import attrs
import outcome

from storage.errors import OutcomeUnknown, StorageError
from storage.group_writer import (
    BATCH_BYTES,
    BATCH_JOBS,
    BATCH_ROWS,
    GroupWriter,
    Job,
    WriterStatistics,
    copy_error,
)
from storage.sqlite.connection import storage_error

__all__ = ["BATCH_BYTES", "BATCH_JOBS", "BATCH_ROWS", "Writer", "WriterStatistics"]


@attrs.define(eq=False)
class Writer(GroupWriter[apsw.Connection]):
    """Runs jobs on the one connection that writes to a file."""

    path: Path
    _connection: apsw.Connection
    name: str = attrs.field(init=False)
    _full_sync: bool = attrs.field(default=False, init=False)

    @name.default
    def _own_name(self) -> str:
        return str(self.path)

    # From here on: the writer's thread.

    def _run_alone(self, job: Job) -> None:
        try:
            job.result = outcome.Value(job.work(self._connection))
        except Exception as error:  # it belongs to its caller
            job.result = outcome.Error(self._role(error))

    def _commit(self, batch: list[Job]) -> None:
        connection = self._connection
        durable = any(job.durable for job in batch)
        try:
            self._set_sync(durable)
            connection.execute("BEGIN IMMEDIATE")
            if len(batch) == 1:
                self._run_only_job(batch[0])
            else:
                for job in batch:
                    self._run_job(job)
        except apsw.Error as error:
            self._abandon(batch, storage_error(error, self.path))
            return
        if not connection.in_transaction:
            self._done += len(batch)
            return
        try:
            connection.execute("COMMIT")
        except apsw.IOError as error:
            # The commit record may or may not be in the WAL. Only reading it again can tell.
            unknown = OutcomeUnknown(f"{self.path}: COMMIT failed with an I/O error")
            unknown.__cause__ = error
            self._abandon(batch, unknown)
        except apsw.Error as error:
            self._abandon(batch, storage_error(error, self.path))
        else:
            self._done += len(batch)
            self._commits += 1
            self._synced += durable

    def _set_sync(self, full: bool) -> None:
        if full != self._full_sync:
            self._connection.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = NORMAL")
            self._full_sync = full

    def _run_only_job(self, job: Job) -> None:
        """Run the transaction's only job: an error undoes it all, so no savepoint is needed."""
        try:
            job.result = outcome.Value(job.work(self._connection))
        except Exception as error:  # any error of a job belongs to its caller
            job.result = outcome.Error(self._role(error))
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _run_job(self, job: Job) -> None:
        """Run one job of several in its savepoint. Raises apsw.Error if the whole transaction is lost."""
        connection = self._connection
        connection.execute("SAVEPOINT job")
        try:
            job.result = outcome.Value(job.work(connection))
        except Exception as error:  # any error of a job belongs to its caller
            if not connection.in_transaction:
                # SQLite itself rolled everything back, as it may if the disk is full.
                if isinstance(error, apsw.Error):
                    raise
                raise apsw.AbortError("the transaction was lost") from error
            connection.execute("ROLLBACK TO job")
            job.result = outcome.Error(self._role(error))
        connection.execute("RELEASE job")

    def _role(self, error: Exception) -> Exception:
        if not isinstance(error, apsw.Error):
            return error
        role = storage_error(error, self.path)
        role.__cause__ = error
        return role

    def _abandon(self, batch: list[Job], error: StorageError) -> None:
        """Undo the transaction; every job without an error of its own fails with `error`."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for job in batch:
            if not isinstance(job.result, outcome.Error):
                job.result = outcome.Error(copy_error(error))
        self._done += len(batch)
