"""The one writer of a store: a thread that owns a connection and commits the jobs of all callers in groups.

A caller puts a job (a function of the connection) into a queue and sleeps. The thread takes all waiting jobs, up to a
bound, and runs them in one transaction. After COMMIT one call into the event loop wakes all callers. The next batch
gathers during the commit: the busier the server, the cheaper a job.

The thread takes its batch itself, under a lock, without a task of the event loop between two commits. That was measured
to save 50 of 170 µs an append compared with one `to_thread.run_sync` a batch. The task `GroupWriter.run` only
represents the thread: it starts it, and raises the error that it died of.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import attrs
import outcome
import trio

from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable

__all__ = ["BATCH_BYTES", "BATCH_JOBS", "BATCH_ROWS", "GroupWriter", "Job", "WriterStatistics", "copy_error"]

C = TypeVar("C")
T = TypeVar("T")

BATCH_JOBS = 64
"""Jobs of one transaction. More would save little and make all callers wait for the slowest."""

BATCH_ROWS = 128
"""Rows of one transaction, unless a single job has more. A thread that runs Python delays the event loop at each turn
(measured: 64 rows 3 to 7 ms at the 99th percentile, 512 rows 7 to 9 ms)."""

BATCH_BYTES = 1024 * 1024
"""Payload of one transaction, unless a single job has more; bounds how long a commit writes."""


@attrs.frozen
class WriterStatistics:
    """The writer's counters since it was made.

    Attributes:
        waiting: jobs that wait now.
        jobs: jobs that were committed or failed.
        commits: transactions that were committed.
        synced: those of them that were followed by fsync.
    """

    waiting: int
    jobs: int
    commits: int
    synced: int


@attrs.define(eq=False)
class Job:
    """A job in the queue. `work`: what to do; mostly a function of the connection. `alone`: outside a transaction."""

    work: Any
    task: trio.lowlevel.Task
    durable: bool
    rows: int
    size: int
    alone: bool = False
    result: outcome.Outcome[Any] | None = None


@attrs.define(eq=False)
class GroupWriter(Generic[C]):
    """Runs jobs on the one connection that writes. Everything in it happens within `run`'s lifetime.

    A class for a database adds `_commit`, which gives each job of a batch its result, and `_run_alone`.

    Attributes:
        name: the database, for the texts of errors.
    """

    name: str
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _bell: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _jobs: deque[Job] = attrs.field(factory=deque, init=False)
    _token: trio.lowlevel.TrioToken | None = attrs.field(default=None, init=False)
    _ended: trio.Event = attrs.field(factory=trio.Event, init=False)
    _crash: BaseException | None = attrs.field(default=None, init=False)
    _sleeping: bool = attrs.field(default=False, init=False)
    _closing: bool = attrs.field(default=False, init=False)
    _done: int = attrs.field(default=0, init=False)
    _commits: int = attrs.field(default=0, init=False)
    _synced: int = attrs.field(default=0, init=False)
    _batch_ended: trio.Event = attrs.field(factory=trio.Event, init=False)

    def statistics(self) -> WriterStatistics:
        """Return the current figures."""
        return WriterStatistics(len(self._jobs), self._done, self._commits, self._synced)

    async def submit(self, work: Callable[[C], T], *, durable: bool, rows: int = 1, size: int = 0) -> T:
        """Run `work` in a transaction on the writer's thread; return once it is committed.

        Jobs run in the order of submission. `work` must be short and must not begin or end transactions. If it raises,
        only this job is undone, and the error is raised here.

        Cancellation: a job that still waits is removed and leaves no trace. A job that has begun is not cancelled: its
        result is returned, and the caller's next checkpoint raises.

        Args:
            work: called with the connection.
            durable: return only after fsync.
            rows: about how many rows it writes; bounds the batch.
            size: about how many bytes it writes; bounds the batch.

        Raises:
            StorageUnavailable: nothing was stored.
            OutcomeUnknown: COMMIT failed with an I/O error.
            StorageError: from `work` itself.
        """
        job = Job(work, trio.lowlevel.current_task(), durable, rows, size)
        return cast("T", await self._queue(job))

    async def wait_commit(self, seen: int) -> None:
        """Return once more than `seen` transactions were committed."""
        await trio.lowlevel.checkpoint()
        while self._commits <= seen:
            self._batch_ended = trio.Event()
            await self._batch_ended.wait()

    async def run_alone(self, work: Callable[[C], T]) -> T:
        """Run `work` between two transactions, for statements that are not allowed inside one. Otherwise like
        `submit`."""
        job = Job(work, trio.lowlevel.current_task(), durable=False, rows=0, size=0, alone=True)
        return cast("T", await self._queue(job))

    async def _queue(self, job: Job) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing or self._token is None:
            raise StorageUnavailable(f"{self.name}: the store is closed")
        with self._lock:
            self._jobs.append(job)
            self._ring()
        return await trio.lowlevel.wait_task_rescheduled(lambda _: self._take_back(job))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve jobs until `close`; raise the error that the thread died of.

        Cancellation: ignored. The caller must call `close` in any case. Until then the cleanup of other callers may
        still write.
        """
        self._token = trio.lowlevel.current_trio_token()
        # A daemon, so that a crash of the event loop cannot hang the interpreter; `close` waits for it.
        threading.Thread(target=self._run_thread, name="storage-writer", daemon=True).start()
        task_status.started()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        if self._crash is not None:
            raise self._crash

    async def close(self) -> None:
        """Commit the waiting jobs and end the thread. Idempotent. Call it shielded: it waits for the disk."""
        with self._lock:
            self._closing = True
            self._ring()
        await self._ended.wait()

    def _ring(self) -> None:
        """Wake the thread if it sleeps. The bell is a lock that the thread waits for. Call it with `_lock` held."""
        if self._sleeping:
            self._sleeping = False
            self._bell.release()

    def _take_back(self, job: Job) -> trio.lowlevel.Abort:
        with self._lock:
            try:
                self._jobs.remove(job)
            except ValueError:
                return trio.lowlevel.Abort.FAILED
        return trio.lowlevel.Abort.SUCCEEDED

    # From here on: the writer's thread, except for _wake and _end.

    def _run_thread(self) -> None:
        assert self._token is not None
        crash: BaseException | None = None
        self._bell.acquire()
        try:
            while (batch := self._next_batch()) is not None:
                try:
                    if batch[0].alone:
                        self._run_alone(batch[0])
                    else:
                        self._commit(batch)
                except BaseException:
                    _forget_results(batch)
                    raise
                finally:
                    self._token.run_sync_soon(self._wake, batch)
        except BaseException as error:
            crash = error
        self._token.run_sync_soon(self._end, crash)

    def _next_batch(self) -> list[Job] | None:
        while True:
            with self._lock:
                if self._jobs:
                    return self._take()
                if self._closing:
                    return None
                self._sleeping = True
            self._bell.acquire()

    def _take(self) -> list[Job]:
        batch = [self._jobs.popleft()]
        rows, size = batch[0].rows, batch[0].size
        if batch[0].alone:
            return batch
        while self._jobs and not self._jobs[0].alone and len(batch) < BATCH_JOBS:
            rows += self._jobs[0].rows
            size += self._jobs[0].size
            if rows > BATCH_ROWS or size > BATCH_BYTES:
                break
            batch.append(self._jobs.popleft())
        return batch

    def _commit(self, batch: list[Job]) -> None:
        """Run a batch in one transaction and commit it. An error of a job undoes only that job."""
        raise NotImplementedError

    def _run_alone(self, job: Job) -> None:
        raise NotImplementedError

    def _wake(self, batch: list[Job]) -> None:
        self._batch_ended.set()
        for job in batch:
            lost = outcome.Error(StorageUnavailable(f"{self.name}: the writer died"))
            trio.lowlevel.reschedule(job.task, job.result or lost)

    def _end(self, crash: BaseException | None) -> None:
        self._crash = crash
        self._closing = True
        with self._lock:
            left = list(self._jobs)
            self._jobs.clear()
        self._wake(left)
        self._ended.set()


def _forget_results(batch: list[Job]) -> None:
    """Give each job an unknown outcome: no caller may take for committed what the thread died over."""
    for job in batch:
        if isinstance(job.result, outcome.Value):
            job.result = outcome.Error(OutcomeUnknown("the writer died in the middle of a commit"))


def copy_error(error: StorageError) -> StorageError:
    """Return the same error as another object: a shared one would collect all callers' tracebacks."""
    made = type(error)(*error.args)
    made.__cause__ = error.__cause__
    return made
