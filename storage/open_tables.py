"""One open store: the tables over a writer and readers, whichever database these are of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import attrs

from storage.aliases import Aliases, read_aliases
from storage.group_writer import WriterStatistics
from storage.sqlite.checkpoint import CheckpointStatistics
from storage.tables.app_exchanges import AppPairTable
from storage.tables.audit import Audit
from storage.tables.devices import DeviceTable
from storage.tables.journal import TableJournal
from storage.tables.notifications.alerts import Alerts
from storage.tables.notifications.changes import Changes
from storage.tables.notifications.channels import Channels
from storage.tables.notifications.deliveries import Deliveries
from storage.tables.pairings import Pairings
from storage.tables.search import Search
from storage.tables.sessions import SessionFiles, SqliteCatalog
from storage.tables.uploads import UploadTable
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["Database", "Notified", "Store", "StoreStatistics", "open_tables"]

_META = "SELECT value FROM meta WHERE key = ?"
_ADD_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"


@attrs.frozen
class StoreStatistics:
    """The figures of a store's parts. `checkpoints`: zeros for a database that makes its own."""

    writer: WriterStatistics
    checkpoints: CheckpointStatistics


@attrs.frozen(eq=False)
class Notified:
    """The tables of notifications."""

    channels: Channels
    alerts: Alerts
    deliveries: Deliveries
    changes: Changes


@attrs.frozen(eq=False, kw_only=True)
class Database:
    """What differs from one database to the next.

    Attributes:
        name: for people; without a password.
        place: differs for a copy of the database, so that a copy does not notify.
        data: the data folder, for files beside the database.
        make_catalog, make_uploads: make the list of sessions, and that of the uploads.
    """

    name: str
    place: str
    data: Path
    writer: TableWriter
    readers: TableReaders
    journal: TableJournal
    changes: Changes
    search: Search
    statistics: Callable[[], StoreStatistics]
    backup: Callable[[Path], Awaitable[None]]
    make_uploads: Callable[[Path, TableWriter, TableReaders], UploadTable] = UploadTable
    make_catalog: Callable[[TableWriter, TableReaders, SessionFiles], SqliteCatalog] = SqliteCatalog


@attrs.frozen(eq=False)
class Store:
    """Everything that the database keeps. Only `open_tables` makes one."""

    database: Database
    journal: TableJournal
    ownership: TableJournal
    catalog: SqliteCatalog
    devices: DeviceTable
    search: Search
    app_pairs: AppPairTable
    uploads: UploadTable
    notifications: Notified
    pairings: Pairings
    audit: Audit
    aliases: Aliases

    @property
    def name(self) -> str:
        """The database, for people."""
        return self.database.name

    async def settle(self, name: str, value: str) -> str:
        """Return the value stored under `name`, durably. The first call stores `value`.

        For values that a server creates once, such as the key that signs its links.

        Raises:
            StorageUnavailable: nothing was stored.
        """
        return await self.database.writer.submit(partial(_settle, name, value), durable=True)

    async def backup(self, target: Path) -> None:
        """Write a copy of the database as it is now, mode 0600, replacing the file at `target`.

        Other calls do not wait for it, but the WAL grows until it is done. Once started it cannot be cancelled.

        Raises:
            StorageUnavailable: there is no copy, or the earlier one is unchanged.
        """
        await self.database.backup(target)

    def statistics(self) -> StoreStatistics:
        """Return the current figures."""
        return self.database.statistics()


@asynccontextmanager
async def open_tables(
    database: Database, run: Callable[[DeviceTable], AbstractAsyncContextManager[None]]
) -> AsyncIterator[Store]:
    """Read what the tables hold in memory, then run the writer and finish what an earlier server left.

    `run`: runs the tasks of the database for the length of a block.

    Raises:
        StorageCorrupt, StorageUnavailable: the database cannot be read or written.
    """
    writer, readers = database.writer, database.readers
    devices = DeviceTable(writer, readers)
    uploads = database.make_uploads(database.data, writer, readers)
    catalog = database.make_catalog(writer, readers, uploads)
    pairings = Pairings(writer, readers, devices)
    await devices.load()
    await pairings.load()
    aliases = await readers.run(read_aliases)
    await catalog.load()
    async with run(devices):
        await uploads.sweep()
        await uploads.move_blobs()
        await catalog.finish_removals()
        yield Store(
            database=database,
            journal=database.journal,
            ownership=database.journal,
            catalog=catalog,
            devices=devices,
            search=database.search,
            app_pairs=AppPairTable(writer, readers, devices),
            uploads=uploads,
            notifications=Notified(
                Channels(writer, readers),
                Alerts(writer, readers),
                Deliveries(writer, readers),
                database.changes,
            ),
            pairings=pairings,
            audit=Audit(database.data, writer, readers),
            aliases=aliases,
        )


def _settle(name: str, value: str, connection: Transaction) -> str:
    connection.execute(_ADD_META, (f"settled:{name}", value))
    return str(connection.execute(_META, (f"settled:{name}",)).get)
