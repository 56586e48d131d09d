"""A PostgreSQL database opened for reading only, while a server may hold it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from storage.aliases import read_aliases
from storage.errors import StorageUnavailable
from storage.postgres.connection import Connection, PostgresServer
from storage.postgres.journal import PostgresChanges, PostgresJournal
from storage.postgres.readers import PostgresReaders
from storage.postgres.schema import check_version
from storage.postgres.writer import PostgresWriter
from storage.read_only import Reading
from storage.tables.activity import Acts
from storage.tables.audit import Audit
from storage.tables.sessions import SqliteCatalog
from storage.tables.survey import Survey
from storage.tables.uploads import UploadTable

__all__ = ["open_postgres_reading"]


@attrs.frozen(eq=False)
class PostgresSurvey(Survey):
    """Whole tables. PostgreSQL checks its own pages when it reads them, and loses no commit silently."""

    async def damage(self) -> Sequence[str]:
        """Return nothing: a damaged page is an error of the statement that reads it."""
        await trio.lowlevel.checkpoint()
        return ()

    async def lost_commits(self) -> str | None:
        """Return None."""
        await trio.lowlevel.checkpoint()
        return None


@asynccontextmanager
async def open_postgres_reading(server: PostgresServer, data: Path) -> AsyncIterator[Reading]:
    """Open a database beside a server or without one. A call that would write raises `StorageUnavailable`.

    Raises:
        StorageCorrupt, StorageVersion: it is none of ours, or of another version.
        StorageUnavailable: it cannot be reached.
    """
    readers = PostgresReaders(server, f"builderos reading {os.getpid()}")
    writer = PostgresWriter(server, None, lambda: _refuse(server))  # never run, so it refuses writes
    try:
        await readers.run(lambda transaction: check_version(transaction.connection, server))
        uploads = UploadTable(data, writer, readers)
        changes = PostgresChanges(readers)
        yield Reading(
            journal=PostgresJournal(writer, readers, writer),
            catalog=SqliteCatalog(writer, readers, uploads),
            survey=PostgresSurvey(readers, uploads),
            audit=Audit(data, writer, readers),
            acts=Acts(readers, changes),
            aliases=await readers.run(read_aliases),
        )
    finally:
        readers.close()


def _refuse(server: PostgresServer) -> Connection:
    raise StorageUnavailable(f"{server.name}: opened for reading only")
