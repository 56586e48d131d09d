"""Opens a PostgreSQL database as the store of one of several nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from storage.open_tables import Store
from storage.postgres.connection import PostgresServer
from storage.postgres.nodes.catalog import NodeJournal
from storage.postgres.nodes.clock import ClockCheck
from storage.postgres.nodes.office import PostOffice
from storage.postgres.nodes.opening import NodeOpening
from storage.postgres.store import application_name, open_postgres_tables

__all__ = ["NodeStore", "open_node_store"]


@attrs.frozen(eq=False)
class NodeStore:
    """The store of a node, and its post, which the caller runs."""

    store: Store
    office: PostOffice
    journal: NodeJournal


@asynccontextmanager
async def open_node_store(
    server: PostgresServer,
    data: Path,
    *,
    name: str,
    version: str,
    now_ms: Callable[[], int],
    new_home: str,
    title: str = "",
    move_here: bool = False,
    allow_asynchronous: bool = False,
) -> AsyncIterator[NodeStore]:
    """Open a database as node `name`, and hold that name for the length of the block.

    Args:
        data: the data folder of this node.
        version: of this program, for the other nodes.
        now_ms: this machine's clock.
        new_home: a new name, for a folder that has none.
        title: the node's name for people; empty if it has no other one.
        move_here: take the name or the database from another folder; what its agents do there is lost.
        allow_asynchronous: accept a database whose standby may lack what was acknowledged.

    Raises:
        DatabaseInUse: a node of this name runs, or a server that does not share the database.
        ClockOff: this machine's clock is far from the database's.
        WrongDatabase: folder, name and database do not belong together.
        StorageCorrupt, StorageVersion, StorageUnavailable: as `storage.postgres.store.open_postgres_store`.
    """
    opening = NodeOpening(
        server,
        application_name(),
        data,
        new_home,
        move_here,
        allow_asynchronous,
        name=name,
        version=version,
        title=title,
        now_ms=now_ms,
    )
    connection = await trio.to_thread.run_sync(opening.first)
    async with open_postgres_tables(opening, connection, name) as store:
        assert isinstance(store.journal, NodeJournal)
        office = PostOffice(server, opening.application, name, opening.incarnation, ClockCheck(now_ms))
        yield NodeStore(store, office, store.journal)
