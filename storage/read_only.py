"""A database opened for reading only, while the server may have it open for writing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import apsw
import attrs
import trio

from storage.aliases import Aliases, read_aliases
from storage.data_folder import DATABASE_NAME
from storage.errors import StorageCorrupt, StorageUnavailable, StorageVersion
from storage.postgres.home import read_home
from storage.schema import MIGRATIONS
from storage.sqlite.connection import (
    APPLICATION_ID,
    BUSY_TIMEOUT_MS,
    is_frozen,
    mapped_errors,
    named_os_errors,
    open_reader,
)
from storage.sqlite.readers import Readers
from storage.sqlite.writer import Writer
from storage.tables.activity import Acts
from storage.tables.audit import Audit
from storage.tables.journal import SqliteJournal, TableJournal
from storage.tables.notifications.changes import Changes
from storage.tables.sessions import SqliteCatalog
from storage.tables.survey import Survey
from storage.tables.uploads import UploadTable

__all__ = ["ChannelCounts", "Reading", "count_channels", "count_sessions", "open_folder", "open_reading"]


@attrs.frozen(eq=False)
class Reading:
    """The tables to read from. A call that would write raises `StorageUnavailable`.

    Attributes:
        owner: the machine whose sessions have their files in this data folder; None: all have.
    """

    journal: TableJournal
    catalog: SqliteCatalog
    survey: Survey
    audit: Audit
    acts: Acts
    aliases: Aliases
    owner: str | None = None


@asynccontextmanager
async def open_reading(path: Path) -> AsyncIterator[Reading]:
    """Open the database at `path`. It is neither created nor migrated, and does not delay other connections.

    Raises:
        StorageCorrupt: it is damaged or none of ours.
        StorageUnavailable: it is not there or cannot be read.
        StorageVersion: another version of this program wrote it.
    """
    with ExitStack() as stack:
        database = await trio.to_thread.run_sync(_with_its_log, path, stack)
        async with _open_tables(path, database) as reading:
            yield reading


@asynccontextmanager
async def open_folder(data: Path) -> AsyncIterator[Reading]:
    """Open the database of a data folder, as `open_reading`: that in it, or the PostgreSQL that it names."""
    home = await trio.to_thread.run_sync(read_home, data)
    if home is None:
        async with open_reading(data / DATABASE_NAME) as reading:
            yield reading
        return
    try:
        from storage.postgres.connection import PostgresServer
        from storage.postgres.reading import open_postgres_reading
    except ImportError as error:
        raise StorageUnavailable(f"the {home.name}: psycopg is not installed") from error
    async with open_postgres_reading(PostgresServer.parse(home.url), data) as reading:
        yield reading


@asynccontextmanager
async def _open_tables(path: Path, database: Path) -> AsyncIterator[Reading]:
    connection = await trio.to_thread.run_sync(_open, database)
    readers = Readers(database)
    writer = Writer(database, connection)  # never run, so it refuses writes
    try:
        uploads = UploadTable(path.parent, writer, readers)
        catalog = SqliteCatalog(writer, readers, uploads)
        journal = SqliteJournal(writer, readers, lambda: 0)
        audit = Audit(path.parent, writer, readers)
        survey, acts = Survey(readers, uploads), Acts(readers, Changes(readers))
        yield Reading(journal, catalog, survey, audit, acts, await readers.run(read_aliases))
    finally:
        readers.close()
        connection.close()


def _with_its_log(path: Path, stack: ExitStack) -> Path:
    """Return the database to read. On a read-only mount SQLite cannot read a log beside it: then it is a copy of both."""
    log = path.with_name(f"{path.name}-wal")
    if not is_frozen(path) or not log.is_file() or not log.stat().st_size:
        return path
    with named_os_errors(path):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="builderos-")))
        for file in (path, log):
            shutil.copyfile(file, folder / file.name)
    return folder / path.name


def _open(path: Path) -> apsw.Connection:
    if not path.is_file():
        raise StorageUnavailable(f"{path}: there is no database yet")
    connection = open_reader(path)
    try:
        with mapped_errors(path):
            version = int(connection.pragma("user_version"))
            if connection.pragma("application_id") != APPLICATION_ID:
                raise StorageCorrupt(f"{path}: this is not a database of this program")
        if version != len(MIGRATIONS):
            raise StorageVersion(
                f"{path}: its version is {version}, but this program reads {len(MIGRATIONS)}"
            )
    except BaseException:
        connection.close()
        raise
    return connection


def count_sessions(path: Path) -> int:
    """Return how many sessions the database holds, whatever its version, and check that it is sound. Blocks.

    The file is opened only for reading: no file is created beside it, and a server may have it open.

    Raises:
        StorageCorrupt: it is damaged or no database.
        StorageError: it cannot be read.
    """
    with mapped_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            count = connection.execute("SELECT count(*) FROM sessions").get
            found = connection.execute("PRAGMA quick_check(1)").get
        finally:
            connection.close()
    if found != "ok":
        raise StorageCorrupt(f"{path}: {found}")
    return int(count)


@attrs.frozen
class ChannelCounts:
    """The channels of notifications, counted.

    Attributes:
        channels: kind and state of channels, and how many have both.
        shown_at_ms: when a device last reported a card; None if none did.
        plain_count: those that were made on a page without HTTPS.
    """

    channels: list[tuple[str, str, int]]
    shown_at_ms: int | None
    plain_count: int


def count_channels(path: Path) -> ChannelCounts | None:
    """Return the channels of a database, opened as by `count_sessions`. None if it is missing, damaged or older. Blocks."""
    if not path.exists():
        return None
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error:
        return None
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        channels = connection.execute(
            "SELECT kind, state, count(*) FROM channel GROUP BY kind, state ORDER BY kind, state"
        )
        return ChannelCounts(
            [(str(kind), str(state), int(count)) for kind, state, count in channels],
            connection.execute("SELECT max(shown_at_ms) FROM delivery").get,
            connection.execute("SELECT count(*) FROM channel WHERE origin LIKE 'http://%'").get,
        )
    except apsw.Error:
        return None
    finally:
        connection.close()
