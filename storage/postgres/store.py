"""Opens a PostgreSQL database as a store: one server at a time, on any machine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from storage.errors import StorageUnavailable
from storage.open_tables import Database, Store, StoreStatistics, open_tables
from storage.postgres.connection import ANSWER_S, Connection, PostgresServer
from storage.postgres.journal import PostgresChanges, PostgresJournal
from storage.postgres.nodes.catalog import NodeCatalog, NodeJournal
from storage.postgres.nodes.uploads import NodeUploads
from storage.postgres.opening import DatabaseOpening
from storage.postgres.readers import PostgresReaders
from storage.postgres.search import find_words
from storage.postgres.writer import PostgresWriter
from storage.sqlite.checkpoint import CheckpointStatistics
from storage.tables.devices import DeviceTable
from storage.tables.search import SEARCH_S, SEARCHES, Search
from storage.tables.sessions import SqliteCatalog
from storage.tables.uploads import UploadTable

__all__ = ["application_name", "open_postgres_store", "open_postgres_tables"]


@asynccontextmanager
async def open_postgres_store(
    server: PostgresServer,
    data: Path,
    *,
    node: str,
    move_here: bool = False,
    allow_asynchronous: bool = False,
) -> AsyncIterator[Store]:
    """Open a database, creating its tables in an empty one, and hold it for the length of the block.

    The end is as that of `storage.store.open_store`: the writer commits the waiting jobs.

    Args:
        data: the data folder: uploads, blobs and the end of the audit lie there.
        node: a new name, for a folder that has none.
        move_here: accept a database that belongs to another folder; what its agents do there is lost.
        allow_asynchronous: accept a database whose standby may lack what was acknowledged.

    Raises:
        DatabaseInUse: another server holds it.
        WrongDatabase: it belongs to another data folder, or the folder to another database.
        StorageCorrupt, StorageVersion, StorageUnavailable: it cannot be used; as `prepare_schema` says.
    """
    opening = DatabaseOpening(server, application_name(), data, node, move_here, allow_asynchronous)
    connection = await trio.to_thread.run_sync(opening.first)
    async with open_postgres_tables(opening, connection) as store:
        yield store


def application_name() -> str:
    """Return the name of this server's connections in `pg_stat_activity`."""
    return f"builderos {os.uname().nodename} {os.getpid()}"[:63]


@asynccontextmanager
async def open_postgres_tables(
    opening: DatabaseOpening, connection: Connection, owner: str | None = None
) -> AsyncIterator[Store]:
    """Open the tables over a writer's connection, which is closed at the end.

    `owner`: the node, if several share the database.
    """
    server, application = opening.server, opening.application
    writer = PostgresWriter(server, connection, opening.again)
    # The server gives up first, so that a statement which is only slow costs no connection.
    settings = f"-c statement_timeout={ANSWER_S * 900:.0f}ms"
    readers = PostgresReaders(server, application, settings=settings, answer_s=ANSWER_S)
    searchers = PostgresReaders(server, application, SEARCHES, f"-c statement_timeout={SEARCH_S * 3:g}s")
    uploads_of_node = partial(NodeUploads, server=server, application=application, owner=owner or "")
    try:
        database = Database(
            name=server.name,
            place=opening.place,
            data=opening.data,
            writer=writer,
            readers=readers,
            journal=_journal(writer, readers, owner),
            changes=PostgresChanges(readers),
            search=Search(searchers, find_words=find_words),
            statistics=lambda: StoreStatistics(writer.statistics(), CheckpointStatistics(0, 0)),
            backup=partial(_no_backup, server),
            make_catalog=SqliteCatalog if owner is None else partial(NodeCatalog, owner=owner),
            make_uploads=UploadTable if owner is None else uploads_of_node,
        )
        async with open_tables(database, partial(_running, writer)) as store:
            yield store
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_close, writer, readers, searchers)


def _journal(writer: PostgresWriter, readers: PostgresReaders, owner: str | None) -> PostgresJournal:
    if owner is None:
        return PostgresJournal(writer, readers, writer)
    return NodeJournal(writer, readers, writer, owner=owner)


@asynccontextmanager
async def _running(writer: PostgresWriter, devices: DeviceTable) -> AsyncIterator[None]:
    """Run the tasks of a store; at the end, write what was promised."""
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        try:
            await nursery.start(devices.revocations.run)
            yield
        finally:
            nursery.cancel_scope.cancel(reason="the store closes")
            # Bounded by the connection's own limits.
            with trio.CancelScope(shield=True):
                await writer.close()


def _close(writer: PostgresWriter, *readers: PostgresReaders) -> None:
    writer.close_connection()
    for pool in readers:
        pool.close()


async def _no_backup(server: PostgresServer, target: Path) -> None:
    await trio.lowlevel.checkpoint()
    raise StorageUnavailable(f"{server.name}: use pg_dump to back it up; {target} is not written")
