"""Opens the database of a server: SQLite in its data folder, unless the config names a PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from builderos import VERSION
from builderos.config import DatabaseSettings
from builderos.ids import new_id, wall_clock_ms
from storage.data_folder import DataFolder, read_boot_id
from storage.errors import StorageUnavailable
from storage.postgres.home import refuse_other_database
from storage.store import Store, open_store

if TYPE_CHECKING:
    from storage.postgres.nodes.store import NodeStore

__all__ = ["OpenDatabase", "open_database"]

log = logging.getLogger("builderos.server")


@attrs.frozen(eq=False)
class OpenDatabase:
    """An open database. `node`: what a server needs that shares it with others; None if it has it for itself."""

    store: Store
    node: NodeStore | None = None


@asynccontextmanager
async def open_database(
    folder: DataFolder, database: DatabaseSettings, *, move_here: bool
) -> AsyncIterator[OpenDatabase]:
    """Open it for the length of the block. Raises StorageError if it cannot be used."""
    if not database.url:
        await trio.to_thread.run_sync(refuse_other_database, folder.path, "start with --database")
        async with open_store(folder.database_path, boot_id=read_boot_id(), now_ms=wall_clock_ms()) as store:
            yield OpenDatabase(store)
        return
    try:
        from storage.postgres.connection import PostgresServer
        from storage.postgres.store import open_postgres_store
    except ImportError as error:
        raise StorageUnavailable(
            "PostgreSQL needs psycopg: pip install -r requirements-postgres.txt"
        ) from error
    if await trio.Path(folder.database_path).is_file():
        log.warning("%s: not used, since --database is given", folder.database_path)
    try:
        server = PostgresServer.parse(database.url)
    except ValueError as error:
        raise StorageUnavailable(f"database.url: {error}") from error
    asynchronous = database.allow_asynchronous
    if database.node:
        from storage.postgres.nodes.store import open_node_store

        async with open_node_store(
            server,
            folder.path,
            name=database.node,
            version=VERSION,
            now_ms=wall_clock_ms,
            new_home=new_id(),
            title=database.node_name,
            move_here=move_here,
            allow_asynchronous=asynchronous,
        ) as node:
            yield OpenDatabase(node.store, node)
        return
    async with open_postgres_store(
        server, folder.path, node=new_id(), move_here=move_here, allow_asynchronous=asynchronous
    ) as store:
        yield OpenDatabase(store)
