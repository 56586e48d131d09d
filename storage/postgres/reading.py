"""A PostgreSQL database opened for reading only, while a server may hold it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import trio

from storage.aliases import read_aliases
from storage.errors import StorageUnavailable
from storage.postgres.connection import Connection, PostgresServer
from storage.postgres.home import read_home
from storage.postgres.journal import PostgresChanges, PostgresJournal
from storage.postgres.readers import PostgresReaders
from storage.postgres.schema import check_version
from storage.postgres.writer import PostgresWriter
from storage.read_only import Reading
from storage.tables.activity import Acts
from storage.tables.audit import Audit
from storage.tables.sessions import SqliteCatalog
from storage.tables.survey import KeptUpload, Survey
from storage.tables.uploads import UploadTable
from storage.transaction import Transaction

__all__ = ["open_postgres_reading"]


_NODE: Final = "SELECT id FROM node WHERE home = ?"
# What the database has, and those files that only a node of these sessions can have.
_UPLOADS_OF: Final = """
SELECT name, size, (SELECT CAST(sum(octet_length(bytes)) AS bigint) FROM chunk WHERE chunk.name = upload.name)
FROM upload WHERE name > ?2 AND doomed = 0 AND (
  EXISTS (SELECT 1 FROM chunk WHERE chunk.name = upload.name) OR EXISTS (
    SELECT 1 FROM upload_use JOIN session USING (session_id) WHERE upload_use.name = upload.name AND owner = ?1))
ORDER BY name LIMIT ?3
"""


@attrs.frozen(eq=False)
class PostgresSurvey(Survey):
    """Whole tables. PostgreSQL checks its own pages when it reads them, and loses no commit silently.

    Attributes:
        owner: the node whose files are looked at; None if there are no nodes.
    """

    owner: str | None = None

    async def damage(self) -> Sequence[str]:
        """Return nothing: a damaged page is an error of the statement that reads it."""
        await trio.lowlevel.checkpoint()
        return ()

    def look(self, connection: Transaction, after: str, limit: int) -> list[KeptUpload]:
        """Return the uploads that the database has, or that must be files of this node."""
        if self.owner is None:
            return super().look(connection, after, limit)
        rows = connection.execute(_UPLOADS_OF, (self.owner, after, limit)).fetchall()
        return [
            KeptUpload(name, size, self.size_of(name) if kept is None else kept) for name, size, kept in rows
        ]

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
    # A command reads whole tables, which takes as long as it takes; who runs it sees that, and can end it.
    readers = PostgresReaders(server, f"builderos reading {os.getpid()}", answer_s=None)
    writer = PostgresWriter(server, None, lambda: _refuse(server))  # never run, so it refuses writes
    try:
        await readers.run(lambda transaction: check_version(transaction.connection, server))
        uploads = UploadTable(data, writer, readers)
        owner = await readers.run(partial(_node_of, data))
        changes = PostgresChanges(readers)
        yield Reading(
            journal=PostgresJournal(writer, readers, writer),
            catalog=SqliteCatalog(writer, readers, uploads),
            survey=PostgresSurvey(readers, uploads, owner),
            audit=Audit(data, writer, readers),
            acts=Acts(readers, changes),
            aliases=await readers.run(read_aliases),
            owner=owner,
        )
    finally:
        readers.close()


def _node_of(data: Path, transaction: Transaction) -> str | None:
    home = read_home(data)
    found = None if home is None else transaction.execute(_NODE, (home.node,)).get
    return None if found is None else str(found)


def _refuse(server: PostgresServer) -> Connection:
    raise StorageUnavailable(f"{server.name}: opened for reading only")
