"""Uploads that all nodes have: their bytes are in the database, in chunks, and go with their row.

A node keeps a file on its disk only for its own sessions, whose agents read it there. What came before there were nodes
has no chunks; the node that it came to adds them at its next start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Final

import attrs
import orjson
import trio

from storage.errors import StorageUnavailable
from storage.postgres.connection import PostgresServer, connect, mapped_errors
from storage.postgres.transaction import PostgresTransaction
from storage.sqlite.connection import named_os_errors
from storage.tables.uploads import CHUNK_BYTES, PART, IncomingFile, Upload, UploadTable, add_upload
from storage.transaction import Transaction

__all__ = ["NodeUploads"]

KEPT_AT_ONCE: Final = 2
"""Uploads that are written to the database at once, each on a connection of its own: no session's writer waits."""

_ADD_CHUNK: Final = "INSERT INTO chunk (name, number, bytes) VALUES (?, ?, ?)"
_CHUNK: Final = (
    "SELECT bytes FROM chunk JOIN upload USING (name) WHERE name = ? AND number = ? AND doomed = 0"
)
_IS_WHOLE: Final = "SELECT 1 FROM chunk WHERE name = ? AND number = 0"
_OWNER: Final = """
SELECT owner FROM upload_use JOIN session USING (session_id) WHERE name = ? AND owner <> ? LIMIT 1
"""
# What the database has, and no session of this node needs.
_NEEDLESS: Final = """
SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM chunk WHERE name = value AND number = 0)
  AND NOT EXISTS (SELECT 1 FROM upload_use JOIN session USING (session_id)
                  WHERE name = value AND owner = ? AND session_id <> ?)
"""
# What came here before there were nodes: the database has its row alone.
_ONLY_HERE: Final = """
SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM upload WHERE name = value AND doomed = 0)
  AND NOT EXISTS (SELECT 1 FROM chunk WHERE name = value AND number = 0)
"""
_HOLD: Final = "SELECT size FROM upload WHERE name = ? AND doomed = 0 FOR UPDATE"
_SESSION: Final = "SELECT 1 FROM session WHERE session_id = ?"
_NAMES_OF: Final = "SELECT name FROM upload_use WHERE session_id = ?"


_log = logging.getLogger("builderos.storage")


@attrs.define(eq=False)
class NodeUploads(UploadTable):
    """All files of all nodes. `owner`: this node."""

    server: PostgresServer = attrs.field(kw_only=True)
    application: str = attrs.field(kw_only=True)
    owner: str = attrs.field(kw_only=True)
    _limiter: trio.CapacityLimiter = attrs.field(
        factory=lambda: trio.CapacityLimiter(KEPT_AT_ONCE), init=False
    )
    _fetches: count[int] = attrs.field(factory=count, init=False)

    async def keep(self, incoming: IncomingFile, upload: Upload) -> None:
        """Keep a file that arrived whole: the database has all of it before this returns; the file itself is removed.

        Cancellation: until the file is on disk; afterwards it is kept.

        Raises:
            StorageUnavailable: it was not kept; or it was, and nobody has its address.
        """
        await incoming.finish(upload.name)
        store = partial(self._store, incoming.path, upload)
        with trio.CancelScope(shield=True):  # bounded by the connection's own limits
            await trio.to_thread.run_sync(store, limiter=self._limiter)

    async def path_for(self, name: str) -> Path | None:
        """Return the path of a file, which is fetched if it is not here; None if there is no such file.

        Raises:
            StorageUnavailable: it cannot be read, or written to the disk.
        """
        path = await super().path_for(name)
        if path is not None or (upload := await self.find(name)) is None:
            return path
        target = self.folder / name
        part = self.folder / f"{name}.{next(self._fetches)}{PART}"
        file = await trio.to_thread.run_sync(self._open_part, part)
        try:
            if not await self._fetch(upload, part, file):
                return None  # it was removed meanwhile
            await trio.to_thread.run_sync(_finish, file, part, target)
        finally:
            with trio.CancelScope(shield=True):  # it closes and unlinks one file
                await trio.to_thread.run_sync(_drop, file, part)
        return target

    async def part(self, name: str, number: int) -> bytes | None:
        """Return a chunk of a file, by its number from 0 on; None if there is none."""
        rows = await self._readers.all(_CHUNK, (name, number))
        return rows[0][0] if rows else None

    async def owner_of(self, name: str) -> str | None:
        """Return another node that must have a file, since a session there has it; None if there is none."""
        rows = await self._readers.all(_OWNER, (name, self.owner))
        return str(rows[0][0]) if rows else None

    async def remove_of(self, session_id: str) -> None:
        """Remove the files that only this session has, and those that no other session of this node needs here."""
        await self.leave(session_id)
        await super().remove_of(session_id)

    async def leave(self, session_id: str) -> None:
        """Remove the copies here that no other session of this node needs. Raises StorageUnavailable."""
        names = [name for (name,) in await self._readers.all(_NAMES_OF, (session_id,))]
        await self._remove_needless(names, session_id)

    async def sweep(self) -> None:
        """Clean up after a crash, and after sessions that moved to other nodes; share what came before there were nodes."""
        await super().sweep()
        names = await trio.to_thread.run_sync(self._names)
        for (name,) in await self._readers.all(_ONLY_HERE, (orjson.dumps(names).decode(),)):
            try:
                await trio.to_thread.run_sync(self._share, name)
            except StorageUnavailable as error:
                _log.warning("the other nodes cannot have an upload yet: %s", error)
        await self._remove_needless(names, "")

    async def forget_gone(self, session_id: str) -> None:
        """Remove the blobs here of a session that another node removed: it was here before it moved. Nothing is removed
        of a session that is there, and nothing unasked: the folder may have sessions of another database."""
        if not await self._readers.all(_SESSION, (session_id,)):
            await trio.to_thread.run_sync(self._remove_files, (), session_id)

    async def _remove_needless(self, names: Sequence[str], session_id: str) -> None:
        """Remove those files here that the database has, and no session of this node needs except one."""
        if names:
            bound = (orjson.dumps(list(names)).decode(), self.owner, session_id)
            needless = [name for (name,) in await self._readers.all(_NEEDLESS, bound)]
            await trio.to_thread.run_sync(self._unlink, needless)

    async def _fetch(self, upload: Upload, part: Path, file: IO[bytes]) -> bool:
        """Write all of a file; return whether it was there."""
        size = 0
        for number in count():
            chunk = await self.part(upload.name, number)
            if chunk is None:
                break
            size += len(chunk)
            await trio.to_thread.run_sync(_write, file, part, chunk)
        return size == upload.size

    # ---- on threads ----

    def _store(self, path: Path, upload: Upload) -> None:
        """Write the row and the chunks, all or nothing."""
        with self._writing(path) as (file, writing):
            add_upload(upload, writing)
            _add_chunks(upload.name, file, writing)

    def _share(self, name: str) -> None:
        """Write the chunks of a file that has a row, all or nothing; nothing if it is gone, or not what the row says."""
        with self._writing(self.folder / name) as (file, writing):
            size = writing.execute(_HOLD, (name,)).get
            if size == os.fstat(file.fileno()).st_size:
                _add_chunks(name, file, writing)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[tuple[IO[bytes], PostgresTransaction]]:
        """Open a file, and a transaction on a connection of its own."""
        connection = connect(self.server, self.application)
        try:
            with (
                mapped_errors(self.server),
                named_os_errors(path),
                path.open("rb") as file,
                connection.transaction(),
            ):
                yield file, PostgresTransaction(connection)
        finally:
            connection.close()

    def _find(self, name: str, connection: Transaction) -> Upload | None:
        found = self._row(name, connection)
        if found is None or self._is_here(found) or connection.execute(_IS_WHOLE, (name,)).get is not None:
            return found
        return None

    def _names(self) -> list[str]:
        with named_os_errors(self.folder):
            found = self.folder.iterdir() if self.folder.is_dir() else ()
            return [path.name for path in found if path.suffix != PART]

    def _unlink(self, names: Sequence[str]) -> None:
        with named_os_errors(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)

    def _open_part(self, part: Path) -> IO[bytes]:
        with named_os_errors(part):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.fdopen(os.open(part, flags, 0o600), "wb")


def _add_chunks(name: str, file: IO[bytes], writing: Transaction) -> None:
    for number in count():
        chunk = file.read(CHUNK_BYTES)
        if not chunk and number:
            break
        writing.execute(_ADD_CHUNK, (name, number, chunk))


def _write(file: IO[bytes], part: Path, chunk: bytes) -> None:
    with named_os_errors(part):
        file.write(chunk)


def _finish(file: IO[bytes], part: Path, target: Path) -> None:
    with named_os_errors(part):
        file.flush()
        os.fsync(file.fileno())
        part.rename(target)


def _drop(file: IO[bytes], part: Path) -> None:
    with named_os_errors(part):
        file.close()
        part.unlink(missing_ok=True)
