"""The writer: batches, savepoints, cancellation, fsync and what a failing disk does to callers."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from storage.errors import OutcomeUnknown, StorageError, StorageFull, StorageUnavailable
from storage.sqlite import writer as writer_module
from storage.sqlite.connection import open_writer
from storage.sqlite.writer import Writer
from tests.storage.faults import Disk, faulty_disk
from tests.storage.stores import LIMIT_S

Job = Callable[[apsw.Connection], int]


@asynccontextmanager
async def running(folder: Path, disk: Disk | None = None) -> AsyncIterator[tuple[Writer, apsw.Connection]]:
    path = folder / "test.db"
    connection = open_writer(path, vfs=disk.name if disk else None)
    connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT) STRICT")
    writer = Writer(path, connection)
    try:
        with trio.fail_after(LIMIT_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(writer.run)
                try:
                    yield writer, connection
                finally:
                    with trio.CancelScope(shield=True):
                        await writer.close()
    finally:
        connection.close()


def put(n: int, text: str = "x") -> Job:
    def job(connection: apsw.Connection) -> int:
        connection.execute("INSERT INTO t VALUES (?, ?)", (n, text))
        return n

    return job


def held(gate: threading.Event, begun: threading.Event) -> Job:
    def job(connection: apsw.Connection) -> int:
        begun.set()
        assert gate.wait(LIMIT_S)
        connection.execute("INSERT INTO t VALUES (0, 'held')")
        return 0

    return job


def stored(connection: apsw.Connection) -> list[int]:
    return [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]


async def submit_held(writer: Writer, nursery: trio.Nursery) -> threading.Event:
    """Keep the thread busy until the returned event is set, so that what is submitted now makes one batch."""
    gate, begun = threading.Event(), threading.Event()

    async def hold() -> None:
        await writer.submit(held(gate, begun), durable=False)

    nursery.start_soon(hold)
    assert await trio.to_thread.run_sync(begun.wait, LIMIT_S)
    return gate


async def test_what_waits_is_committed_together_in_order(tmp_path: Path) -> None:
    order: list[int] = []
    async with running(tmp_path) as (writer, connection):

        async def submit(n: int) -> None:
            await writer.submit(lambda _: order.append(n), durable=False)

        async with trio.open_nursery() as nursery:
            gate = await submit_held(writer, nursery)
            for n in range(1, 31):
                nursery.start_soon(submit, n)
                await trio.testing.wait_all_tasks_blocked()
            assert writer.statistics().waiting == 30
            gate.set()
        assert stored(connection) == [0]
        assert writer.statistics().commits == 2
    assert order == list(range(1, 31))


@pytest.mark.parametrize(
    ("rows", "size", "commits"),
    [
        (1, 0, 4),
        (writer_module.BATCH_ROWS // 4, 0, 50),
        (1, writer_module.BATCH_BYTES, 200),
        (10_000, 0, 200),
    ],
)
async def test_a_batch_is_bounded(tmp_path: Path, rows: int, size: int, commits: int) -> None:
    async with running(tmp_path) as (writer, connection):

        async def submit(n: int) -> None:
            await writer.submit(put(n), durable=False, rows=rows, size=size)

        async with trio.open_nursery() as nursery:
            gate = await submit_held(writer, nursery)
            for n in range(1, 201):
                nursery.start_soon(submit, n)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert len(stored(connection)) == 201
        assert writer.statistics().commits == 1 + commits


async def test_a_bad_job_fails_alone_and_is_undone(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection):

        def bad(connection: apsw.Connection) -> int:
            connection.execute("INSERT INTO t VALUES (77, 'bad')")
            raise ValueError("my own")

        async def submit_bad() -> None:
            with pytest.raises(ValueError, match="my own"):
                await writer.submit(bad, durable=False)

        async def submit(n: int) -> None:
            await writer.submit(put(n), durable=False)

        async with trio.open_nursery() as nursery:
            gate = await submit_held(writer, nursery)
            nursery.start_soon(submit, 1)
            nursery.start_soon(submit_bad)
            nursery.start_soon(submit, 2)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert stored(connection) == [0, 1, 2]
        assert writer.statistics().commits == 2


async def test_a_bad_job_that_is_alone_is_undone(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection):

        def bad(connection: apsw.Connection) -> int:
            connection.execute("INSERT INTO t VALUES (77, 'bad')")
            raise ValueError("my own")

        def twice(connection: apsw.Connection) -> int:
            return put(1)(connection) + put(1)(connection)

        def lost(connection: apsw.Connection) -> int:
            connection.execute("INSERT INTO t VALUES (78, 'bad')")
            connection.execute("ROLLBACK")  # as SQLite itself may, where the disk is full
            raise ValueError("after it")

        with pytest.raises(ValueError, match="my own"):
            await writer.submit(bad, durable=True)
        with pytest.raises(StorageError):
            await writer.submit(twice, durable=False)
        with pytest.raises(ValueError, match="after it"):
            await writer.submit(lost, durable=False)
        assert not connection.in_transaction
        assert (writer.statistics().jobs, writer.statistics().commits) == (3, 0)
        assert await writer.submit(put(2), durable=False) == 2
        assert stored(connection) == [2]


async def test_a_waiting_job_that_is_cancelled_leaves_no_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection), trio.open_nursery() as nursery:
        gate = await submit_held(writer, nursery)
        with trio.move_on_after(0.01) as scope:
            await writer.submit(put(1), durable=False)
        assert scope.cancelled_caught
        assert writer.statistics().waiting == 0
        gate.set()
        await writer.submit(put(2), durable=False)
        assert stored(connection) == [0, 2]


async def test_a_job_that_has_begun_is_not_cancelled(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection):
        gate, begun = threading.Event(), threading.Event()
        results: list[int] = []
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def submit() -> None:
                    results.append(await writer.submit(held(gate, begun), durable=False))
                    await trio.lowlevel.checkpoint()
                    results.append(99)

                nursery.start_soon(submit)
                with trio.CancelScope(shield=True):
                    assert await trio.to_thread.run_sync(begun.wait, LIMIT_S)
                scope.cancel()
                gate.set()
        assert results == [0]
        assert stored(connection) == [0]


async def test_only_a_durable_commit_is_synced(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with running(tmp_path, disk) as (writer, _):
            await writer.submit(put(1), durable=False)  # the WAL's header
            for durable, n in [(False, 2), (True, 3), (True, 4), (False, 5), (True, 6), (False, 7)]:
                before = disk.wal_syncs
                await writer.submit(put(n), durable=durable)
                assert disk.wal_syncs - before == int(durable), n
            assert writer.statistics().synced == 3


async def test_a_commit_that_fails_to_sync_is_unknown_for_all(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with running(tmp_path, disk) as (writer, connection):
            await writer.submit(put(1), durable=True)
            failed: list[int] = []

            async def submit(n: int) -> None:
                with pytest.raises(OutcomeUnknown):
                    await writer.submit(put(n), durable=True)
                failed.append(n)
                await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                gate = await submit_held(writer, nursery)
                disk.fail_sync = apsw.IOError
                for n in (2, 3):
                    nursery.start_soon(submit, n)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            disk.fail_sync = None
            assert sorted(failed) == [2, 3]
            await writer.submit(put(4), durable=True)
            # The rest is settled, one way for the whole batch; here SQLite takes it back.
            assert stored(connection) in ([0, 1, 4], [0, 1, 2, 3, 4])


async def test_a_full_disk_stores_nothing_until_it_has_room(tmp_path: Path) -> None:
    with faulty_disk() as disk:
        async with running(tmp_path, disk) as (writer, connection):
            await writer.submit(put(1), durable=True)
            disk.fail_write = apsw.FullError
            for n in (2, 3):
                with pytest.raises(StorageFull, match=r"test\.db: no space left"):
                    await writer.submit(put(n), durable=n == 2)
            disk.fail_write = None
            assert stored(connection) == [1]
            await writer.submit(put(2), durable=False)
            assert stored(connection) == [1, 2]


async def test_a_statement_that_finds_no_page_fails_its_job(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection):
        connection.pragma("max_page_count", 4)
        with pytest.raises(StorageFull):
            await writer.submit(put(1, "x" * 100_000), durable=False)
        await writer.submit(put(2), durable=False)
        assert stored(connection) == [2]


async def test_a_writer_that_dies_is_heard_and_answers_everybody(tmp_path: Path) -> None:
    heard: list[str] = []

    def deadly(_: apsw.Connection) -> int:
        raise SystemExit("deadly")

    async def submit(writer: Writer, job: Job) -> None:
        with trio.CancelScope(shield=True):
            with pytest.raises(StorageUnavailable, match="the writer died"):
                await writer.submit(job, durable=False)
            heard.append("died")
            await trio.lowlevel.checkpoint()

    with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
        async with running(tmp_path) as (writer, _), trio.open_nursery() as nursery:
            gate = await submit_held(writer, nursery)
            nursery.start_soon(submit, writer, deadly)
            await trio.testing.wait_all_tasks_blocked()
            for n in range(1, 101):
                nursery.start_soon(submit, writer, put(n))
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
            await trio.sleep_forever()
    assert len(heard) == 101


async def test_a_closed_writer_takes_no_job_and_has_done_all_others(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, connection):
        async with trio.open_nursery() as nursery:
            gate = await submit_held(writer, nursery)
            nursery.start_soon(lambda: writer.submit(put(1), durable=True))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(writer.close)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(StorageUnavailable, match="closed"):
                await writer.submit(put(2), durable=False)
            gate.set()
        assert stored(connection) == [0, 1]


async def test_what_sqlite_refuses_inside_a_transaction_runs_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as (writer, _):

        def inside(connection: apsw.Connection) -> bool:
            return connection.in_transaction

        assert await writer.submit(inside, durable=False) is True
        assert await writer.run_alone(inside) is False

        def bad(_: apsw.Connection) -> bool:
            raise apsw.IOError

        with pytest.raises(StorageUnavailable):
            await writer.run_alone(bad)
