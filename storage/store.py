"""One open SQLite database: its writer, readers and checkpoints."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import trio

from storage.errors import StorageError
from storage.open_tables import Database, Notified, Store, StoreStatistics, open_tables
from storage.schema import MIGRATIONS, Migration, copy_database, migrate
from storage.sqlite.checkpoint import Checkpointer, open_aside
from storage.sqlite.commit_mark import CommitMarks, find_lost_commits, set_mark
from storage.sqlite.connection import mapped_errors, open_writer
from storage.sqlite.readers import Readers
from storage.sqlite.writer import Writer
from storage.tables.audit import append_acts
from storage.tables.devices import DeviceTable
from storage.tables.hash_chain import Act
from storage.tables.journal import SqliteJournal
from storage.tables.notifications.changes import Changes
from storage.tables.search import SEARCHES, Search

__all__ = ["Notified", "Store", "StoreStatistics", "open_store"]

_META = "SELECT value FROM meta WHERE key = ?"
_SET_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_NO_META = "DELETE FROM meta WHERE key = ?"
_RAISE_EPOCHS = """
UPDATE session SET epoch = epoch + 1 WHERE session_id IN (SELECT session_id FROM summary WHERE unfinished = 1)
"""

# Nobody can tell which numbers the lost commits had given out; none of them was as large as the time.
_RENEW_ALL = """
UPDATE session SET epoch = max(epoch + 1, ?1), owner_epoch = max(owner_epoch + 1, ?1)
"""

_GENERATION_BITS = 32
"""Commit numbers begin with how often the database was opened. So they rise without a counter that each commit must
write, with room for 2**32 rows between two starts."""

_log = logging.getLogger("builderos.storage")


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    boot_id: str,
    now_ms: int = 0,
    vfs: str | None = None,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> AsyncIterator[Store]:
    """Open the database at `path`, creating or migrating it first.

    At the end of the block the writer commits the waiting jobs; the file is checkpointed and marked as closed well.
    That cannot be cancelled. An error of the block leaves it inside an ExceptionGroup, as with any nursery; an error
    while opening leaves it bare. If the writer's thread dies, the block is cancelled and the thread's error raised.

    Synopsis::

        async with open_store(folder.database_path, boot_id=read_boot_id()) as store:
            grant = await store.ownership.acquire("trip")
            await store.journal.append(grant, grant.seq, [entry], durable=True)

    Args:
        boot_id: names this run of the machine (`storage.data_folder.read_boot_id`). Where it differs from the one
            noted and the database was not closed well, the power failed: sessions that were busy then get a
            new epoch. All sessions get one if the newest commits are missing (`storage.sqlite.commit_mark`).
        now_ms: milliseconds since 1970, for what is written if commits are missing.
        vfs: the SQLite VFS, for tests that let the disk fail.
        migrations: for tests of migration.

    Raises:
        StorageCorrupt: the file is damaged or not a database of ours.
        StorageVersion: a newer program wrote it.
        StorageUnavailable: it cannot be opened or written now.
    """
    limiter = trio.CapacityLimiter(1)
    connection, aside, generation, place = await trio.to_thread.run_sync(
        lambda: _open(path, boot_id, now_ms, vfs, migrations), limiter=limiter
    )
    writer = Writer(path, connection)
    readers = Readers(path, vfs)
    searchers = Readers(path, vfs, SEARCHES)
    checkpointer = Checkpointer(path, writer, aside)
    numbers = itertools.count((generation << _GENERATION_BITS) + 1)
    database = Database(
        name=str(path),
        place=place,
        data=path.parent,
        writer=writer,
        readers=readers,
        journal=SqliteJournal(writer, readers, numbers.__next__),
        changes=Changes(readers),
        search=Search(searchers),
        statistics=lambda: StoreStatistics(writer.statistics(), checkpointer.statistics()),
        backup=lambda target: trio.to_thread.run_sync(_backup, path, target),
    )
    run = partial(_running, path, connection, writer, checkpointer)
    ended_well = False
    try:
        async with open_tables(database, run) as store:
            yield store
            ended_well = True
    finally:
        with trio.CancelScope(shield=True):
            searchers.close()
            await trio.to_thread.run_sync(
                lambda: _close(path, connection, aside, readers, ended_well=ended_well), limiter=limiter
            )


@asynccontextmanager
async def _running(
    path: Path, connection: apsw.Connection, writer: Writer, checkpointer: Checkpointer, devices: DeviceTable
) -> AsyncIterator[None]:
    """Run the tasks of a store; at the end, write what was promised."""
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        try:
            await nursery.start(checkpointer.run)
            checkpointer.watch(connection)
            await nursery.start(CommitMarks(path.parent, writer).run)
            await nursery.start(devices.revocations.run)
            yield
        finally:
            nursery.cancel_scope.cancel(reason="the store closes")
            # Not bounded: promised writes must reach the disk, and each job is short.
            with trio.CancelScope(shield=True):
                await writer.close()


def _open(
    path: Path, boot_id: str, now_ms: int, vfs: str | None, migrations: Sequence[Migration]
) -> tuple[apsw.Connection, apsw.Connection, int, str]:
    connection = open_writer(path, vfs=vfs)
    try:
        migrate(connection, path, migrations)
        with mapped_errors(path):
            connection.pragma("synchronous", "full")
            connection.execute("BEGIN IMMEDIATE")
            generation = _begin_generation(connection, boot_id)
            _look_for_lost_commits(connection, path, now_ms)
            connection.execute("COMMIT")
            connection.pragma("synchronous", "normal")
        aside = open_aside(path, vfs=vfs)
    except BaseException:
        connection.close()
        raise
    return connection, aside, generation, str(path.stat().st_ino)


def _begin_generation(connection: apsw.Connection, boot_id: str) -> int:
    def meta(key: str) -> str | None:
        found: str | None = connection.execute(_META, (key,)).get
        return found

    last_boot_id = meta("boot_id")
    if meta("closed_well") is None and last_boot_id is not None and last_boot_id != boot_id:
        connection.execute(_RAISE_EPOCHS)
    generation = int(meta("generation") or 0) + 1
    connection.execute(_SET_META, ("generation", str(generation)))
    connection.execute(_SET_META, ("boot_id", boot_id))
    connection.execute(_NO_META, ("closed_well",))
    return generation


def _look_for_lost_commits(connection: apsw.Connection, path: Path, now_ms: int) -> None:
    """If commits are gone, give all sessions new epochs and the audit a row, and log it."""
    lost = find_lost_commits(path.parent, connection)
    if lost is None:
        return
    connection.execute(_RENEW_ALL, (now_ms // 1000,))
    append_acts([Act(at_ms=now_ms, act="commits_lost", subject=f"{lost.kept}-{lost.noted}")], connection)
    set_mark(connection, lost.noted)
    _log.warning(
        "%s: the newest commits are missing: %s. Its WAL was damaged, or an older copy was put in its place."
        " Each session begins a new epoch. If a backup is newer, `builderos restore` brings it back.",
        path,
        lost,
    )


def _backup(path: Path, target: Path) -> None:
    connection = open_writer(path)  # only reads, but `query_only` would forbid the copy
    try:
        copy_database(connection, target)
    finally:
        connection.close()


def _close(
    path: Path, connection: apsw.Connection, aside: apsw.Connection, readers: Readers, *, ended_well: bool
) -> None:
    readers.close()
    aside.close()
    try:
        with mapped_errors(path):
            connection.set_wal_hook(None)
            connection.execute("PRAGMA optimize")
            connection.pragma("synchronous", "full")
            connection.execute(_SET_META, ("closed_well", "1"))
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except StorageError as error:
        # The next start treats this as a crash, which loses nothing. A failure was already logged.
        _log.log(logging.ERROR if ended_well else logging.DEBUG, "closing: %s", error)
    finally:
        connection.close()
