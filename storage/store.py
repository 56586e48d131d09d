"""One open database: its writer, readers and checkpoints, and the tables built on them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import attrs
import trio

from storage.aliases import Aliases, read_aliases
from storage.errors import StorageError
from storage.schema import MIGRATIONS, Migration, copy_database, migrate
from storage.sqlite.checkpoint import Checkpointer, CheckpointStatistics, open_aside
from storage.sqlite.commit_mark import CommitMarks, find_lost_commits, set_mark
from storage.sqlite.connection import mapped_errors, open_writer
from storage.sqlite.readers import Readers
from storage.sqlite.writer import Writer, WriterStatistics
from storage.tables.app_exchanges import AppPairTable
from storage.tables.audit import Audit, append_acts
from storage.tables.devices import DeviceTable
from storage.tables.hash_chain import Act
from storage.tables.journal import SqliteJournal
from storage.tables.notifications.alerts import Alerts
from storage.tables.notifications.changes import Changes
from storage.tables.notifications.channels import Channels
from storage.tables.notifications.deliveries import Deliveries
from storage.tables.pairings import Pairings
from storage.tables.search import SEARCHES, Search
from storage.tables.sessions import SqliteCatalog
from storage.tables.uploads import UploadTable

__all__ = ["Notified", "Store", "StoreStatistics", "open_store"]

_META = "SELECT value FROM meta WHERE key = ?"
_SET_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
_ADD_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
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


@attrs.frozen
class StoreStatistics:
    """The figures of a store's parts."""

    writer: WriterStatistics
    checkpoints: CheckpointStatistics


@attrs.frozen(eq=False)
class Notified:
    """The tables of notifications."""

    channels: Channels
    alerts: Alerts
    deliveries: Deliveries
    changes: Changes


@attrs.frozen(eq=False)
class Store:
    """Everything that the database keeps. Only `open_store` makes one."""

    path: Path
    journal: SqliteJournal
    ownership: SqliteJournal
    catalog: SqliteCatalog
    devices: DeviceTable
    search: Search
    app_pairs: AppPairTable
    uploads: UploadTable
    notifications: Notified
    pairings: Pairings
    audit: Audit
    aliases: Aliases
    _writer: Writer
    _checkpointer: Checkpointer

    async def settle(self, name: str, value: str) -> str:
        """Return the value stored under `name`, durably. The first call stores `value`.

        For values that a server creates once, such as the key that signs its links.

        Raises:
            StorageUnavailable: nothing was stored.
        """
        return await self._writer.submit(partial(_settle, name, value), durable=True)

    async def backup(self, target: Path) -> None:
        """Write a copy of the database as it is now, mode 0600, replacing the file at `target`.

        Other calls do not wait for it, but the WAL grows until it is done. Once started it cannot be cancelled.

        Raises:
            StorageUnavailable: there is no copy, or the earlier one is unchanged.
        """
        await trio.to_thread.run_sync(_backup, self.path, target)

    def statistics(self) -> StoreStatistics:
        """Return the current figures."""
        return StoreStatistics(self._writer.statistics(), self._checkpointer.statistics())


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
    connection, aside, generation = await trio.to_thread.run_sync(
        lambda: _open(path, boot_id, now_ms, vfs, migrations), limiter=limiter
    )
    writer = Writer(path, connection)
    readers = Readers(path, vfs)
    searchers = Readers(path, vfs, SEARCHES)
    checkpointer = Checkpointer(path, writer, aside)
    ended_well = False
    try:
        store = _assemble(
            path, writer, checkpointer, readers, searchers, await readers.run(read_aliases), generation
        )
        await store.devices.load()
        await store.pairings.load()
        await store.catalog.load()
        async with _running(path, connection, writer, checkpointer, store.devices):
            await store.uploads.sweep()
            await store.uploads.move_blobs()
            await store.catalog.finish_removals()
            yield store
            ended_well = True
    finally:
        with trio.CancelScope(shield=True):
            searchers.close()
            await trio.to_thread.run_sync(
                lambda: _close(path, connection, aside, readers, ended_well=ended_well), limiter=limiter
            )


def _assemble(
    path: Path,
    writer: Writer,
    checkpointer: Checkpointer,
    readers: Readers,
    searchers: Readers,
    aliases: Aliases,
    generation: int,
) -> Store:
    """Make the tables of an open database."""
    numbers = itertools.count((generation << _GENERATION_BITS) + 1)
    journal = SqliteJournal(writer, readers, numbers.__next__)
    devices = DeviceTable(writer, readers)
    uploads = UploadTable(path.parent, writer, readers)
    return Store(
        path=path,
        journal=journal,
        ownership=journal,
        catalog=SqliteCatalog(writer, readers, uploads),
        devices=devices,
        search=Search(searchers),
        app_pairs=AppPairTable(writer, readers, devices),
        uploads=uploads,
        notifications=Notified(
            Channels(writer, readers), Alerts(writer, readers), Deliveries(writer, readers), Changes(readers)
        ),
        pairings=Pairings(writer, readers, devices),
        audit=Audit(path.parent, writer, readers),
        aliases=aliases,
        writer=writer,
        checkpointer=checkpointer,
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
) -> tuple[apsw.Connection, apsw.Connection, int]:
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
    return connection, aside, generation


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


def _settle(name: str, value: str, connection: apsw.Connection) -> str:
    connection.execute(_ADD_META, (f"settled:{name}", value))
    return str(connection.execute(_META, (f"settled:{name}",)).get)


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
