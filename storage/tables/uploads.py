"""Files that devices uploaded: a row for each, and the file in a folder under the row's name.

An incoming file is called `NAME.part`. Once it is whole and on disk, its row is committed; then it is renamed to
`NAME`. So a file without `.part` always has a row, and a crash leaves only `.part` files. The next start renames one
with a row and removes one without. It removes nothing else: a database restored from an older copy costs no files.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

import attrs
import trio

from storage.data_folder import BLOBS_NAME, UPLOADS_NAME, blob_folder
from storage.sqlite.connection import named_os_errors
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["CHUNK_BYTES", "PART", "IncomingFile", "Upload", "UploadTable", "add_upload"]

PART = ".part"
"""The end of a file's name until its row is committed."""

CHUNK_BYTES = 256 * 1024
"""Bytes of each part but the last one, of a file that is in the database."""

WRITE_BYTES = 256 * 1024
"""Bytes that are gathered before a write: each write takes a thread."""

_NAME = re.compile(r"[0-9a-z]{32}_[A-Za-z0-9._-]{1,100}")
"""An id and a harmless name. It has no `/` and does not begin with a dot, so it cannot lead out of our folder."""

_COLUMNS = "name, filename, mime_type, type, size, url, device_id, created_at_ms"
_ADD = f"INSERT INTO upload ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_FIND = f"SELECT {_COLUMNS} FROM upload WHERE name = ? AND doomed = 0"
_EXISTS = "SELECT 1 FROM upload WHERE name = ? AND doomed = 0"
_USAGE = "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT) FROM upload"
_USE = "INSERT INTO upload_use (session_id, name) VALUES (?, ?) ON CONFLICT DO NOTHING"
_DOOM = """
UPDATE upload SET doomed = 1 WHERE name IN (SELECT name FROM upload_use WHERE session_id = ?1)
  AND name NOT IN (SELECT name FROM upload_use WHERE session_id != ?1)
"""
_DOOMED = "SELECT name FROM upload JOIN upload_use USING (name) WHERE doomed = 1 AND session_id = ?"
_REMOVE_DOOMED = "DELETE FROM upload WHERE doomed = 1 AND name = ?"
_MOVED = "SELECT session_id, blobs FROM app_known"
_REMOVE_USES = "DELETE FROM upload_use WHERE session_id = ?"


@attrs.frozen
class Upload:
    """One file.

    Attributes:
        name: its id of 32 characters, `_`, and a harmless form of its file name. Cannot be guessed.
        filename: the device's name for it; not a path.
        size: bytes.
        url: the address that was given out for it.
        device_id: who brought it.
        created_at_ms: when.
    """

    name: str
    filename: str
    mime_type: str
    type: str
    size: int
    url: str
    device_id: str
    created_at_ms: int

    @property
    def id(self) -> str:
        """Its id in messages."""
        return self.name[:32]


@attrs.define(eq=False)
class IncomingFile:
    """An incoming file. Only `Uploads.receive` makes one."""

    path: Path
    _file: IO[bytes]
    size: int = 0
    _gathered: bytearray = attrs.field(factory=bytearray)

    async def write(self, data: bytes) -> None:
        """Add to the file. Raises StorageUnavailable, or its subclass StorageFull."""
        self.size += len(data)
        self._gathered += data
        if len(self._gathered) >= WRITE_BYTES:
            gathered, self._gathered = self._gathered, bytearray()
            await trio.to_thread.run_sync(self._write, gathered)
        else:
            await trio.lowlevel.checkpoint()

    async def finish(self, name: str) -> None:
        """Make sure that the file is whole and on disk, as `NAME.part`. Raises StorageUnavailable."""
        await trio.to_thread.run_sync(self._finish, name)

    def _write(self, data: bytearray) -> None:
        with named_os_errors(self.path):
            self._file.write(data)

    def _finish(self, name: str) -> None:
        with named_os_errors(self.path):
            self._file.write(self._gathered)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self.path = self.path.rename(self.path.with_name(name + PART))

    def close(self) -> None:
        """Close the file and remove it if it is not kept. Idempotent; blocks briefly."""
        with suppress(OSError):  # unwritten data is dropped
            self._file.close()
        self.path.unlink(missing_ok=True)


@attrs.define(eq=False)
class UploadTable:
    """All files. `data` is the data folder; blobs of sessions are removed here too."""

    data: Path
    _writer: TableWriter
    _readers: TableReaders

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.data / UPLOADS_NAME

    def path_of(self, name: str) -> Path | None:
        """Return the path of a file of this name, whether it exists or not; None if no upload can have such a name."""
        return self.folder / name if _NAME.fullmatch(name) else None

    async def path_for(self, name: str) -> Path | None:
        """Return the path of a file that is there; None if there is none. Looks at the folder: some microseconds.

        Raises:
            StorageUnavailable: it cannot be brought here.
        """
        path = self.path_of(name)
        return path if path is not None and path.is_file() else None

    async def part(self, name: str, number: int) -> bytes | None:
        """Return a part of a file that is in the database; None if there is none. Raises StorageUnavailable."""
        return None

    async def owner_of(self, name: str) -> str | None:
        """Return another node that must have a file; None if there is none. Raises StorageUnavailable."""
        return None

    @asynccontextmanager
    async def receive(self, upload_id: str) -> AsyncIterator[IncomingFile]:
        """Receive a file under a new id. At the end of the block it is removed, unless `keep` was called.

        Raises:
            StorageUnavailable: it cannot be created.
        """
        incoming = await trio.to_thread.run_sync(self._open, upload_id)
        try:
            yield incoming
        finally:
            # Not bounded: it closes and unlinks one file, and a thread cannot be abandoned with it.
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(incoming.close)

    async def keep(self, incoming: IncomingFile, upload: Upload) -> None:
        """Keep a file that arrived whole: it is on disk, with its row, before this returns.

        Cancellation: until the file is on disk; afterwards it is kept.

        Raises:
            StorageUnavailable: it was not kept.
            OutcomeUnknown: it may have been.
        """
        assert _NAME.fullmatch(upload.name), "the server makes the names"
        await incoming.finish(upload.name)
        with trio.CancelScope(shield=True):  # a commit that has begun is not cancelled; both are short
            await self._writer.submit(partial(add_upload, upload), durable=True)
            await trio.to_thread.run_sync(self._give_name, upload.name)

    async def find(self, name: str) -> Upload | None:
        """Return a file's row; None if there is no such file. Raises StorageUnavailable."""
        return await self._readers.run(partial(self._find, name)) if _NAME.fullmatch(name) else None

    async def usage(self) -> tuple[int, int]:
        """Return the number of kept files, and their bytes. Raises StorageUnavailable."""
        rows = await self._readers.all(_USAGE)
        return rows[0][0], rows[0][1]

    async def use(self, session_id: str, names: Sequence[str]) -> bool:
        """Record that a session has these files: they stay as long as it does. False if one is gone.

        It becomes durable with the next durable commit, such as that of the message that has them.

        Raises:
            StorageUnavailable: nothing was recorded.
        """
        return await self._writer.submit(partial(_use, session_id, names), durable=False)

    async def remove_of(self, session_id: str) -> None:
        """Remove the files that only this session has, and its blobs. Idempotent.

        Raises:
            StorageUnavailable: some may be left.
        """
        doomed = await self._writer.submit(partial(_doom, session_id), durable=True)
        await trio.to_thread.run_sync(self._remove_files, doomed, session_id)
        await self._writer.submit(partial(_forget, session_id, doomed), durable=False)

    async def link_of(self, session_id: str, source_id: str) -> None:
        """Let a session share the blobs of another one. Idempotent. Raises StorageUnavailable."""
        source, target = blob_folder(self.data, source_id), blob_folder(self.data, session_id)
        await trio.to_thread.run_sync(_link_all, source, target)

    async def sweep(self) -> None:
        """Clean up after a crash. Call once, before the first upload. Raises StorageUnavailable."""
        parts = await trio.to_thread.run_sync(self._parts)
        for part in parts:
            name = part.name.removesuffix(PART)
            known = await self._readers.run(partial(_is_known, name))
            await trio.to_thread.run_sync(self._settle, part, known)

    async def move_blobs(self) -> None:
        """Move the blobs of sessions that got an alias into the alias's folder. Call at each opening: a hub of an
        earlier version may have written into the old folder. Raises StorageUnavailable.
        """
        moved = await self._readers.all(_MOVED)
        if moved:
            await trio.to_thread.run_sync(self._move_blobs, moved)

    # ---- on threads ----

    def _move_blobs(self, moved: Sequence[tuple[str, str]]) -> None:
        for session_id, old_name in moved:
            old, new = self.data / BLOBS_NAME / old_name, blob_folder(self.data, session_id)
            with named_os_errors(old):
                if not old.is_dir():
                    continue
                new.mkdir(mode=0o700, exist_ok=True)
                for blob in old.iterdir():
                    blob.replace(new / blob.name)
                old.rmdir()

    def _open(self, upload_id: str) -> IncomingFile:
        with named_os_errors(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
        path = self.folder / (upload_id + PART)
        with named_os_errors(path):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            return IncomingFile(path, os.fdopen(handle, "wb"))

    def _give_name(self, name: str) -> None:
        with named_os_errors(self.folder):
            (self.folder / (name + PART)).rename(self.folder / name)
            handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _find(self, name: str, connection: Transaction) -> Upload | None:
        found = self._row(name, connection)
        return found if found is not None and self._is_here(found) else None

    def _row(self, name: str, connection: Transaction) -> Upload | None:
        row = connection.execute(_FIND, (name,)).get
        return None if row is None else Upload(*row)

    def _is_here(self, upload: Upload) -> bool:
        try:
            return (self.folder / upload.name).stat().st_size == upload.size
        except OSError:
            return False

    def _remove_files(self, names: Sequence[str], session_id: str) -> None:
        with named_os_errors(self.folder):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)
        blobs = blob_folder(self.data, session_id)
        with named_os_errors(blobs):
            if blobs.is_dir():
                shutil.rmtree(blobs)

    def _parts(self) -> list[Path]:
        with named_os_errors(self.folder):
            return sorted(self.folder.glob(f"*{PART}")) if self.folder.is_dir() else []

    def _settle(self, part: Path, known: bool) -> None:
        with named_os_errors(part):
            if known:
                part.rename(part.with_name(part.name.removesuffix(PART)))
            else:
                part.unlink(missing_ok=True)


def add_upload(upload: Upload, connection: Transaction) -> None:
    """Write an upload's row. On the writer's thread, or on one with a transaction of its own."""
    connection.execute(_ADD, attrs.astuple(upload))


def _is_known(name: str, connection: Transaction) -> bool:
    return connection.execute(_EXISTS, (name,)).get is not None


def _use(session_id: str, names: Sequence[str], connection: Transaction) -> bool:
    if not all(_is_known(name, connection) for name in names):
        return False
    for name in names:
        connection.execute(_USE, (session_id, name))
    return True


def _doom(session_id: str, connection: Transaction) -> list[str]:
    connection.execute(_DOOM, (session_id,))
    return [name for (name,) in connection.execute(_DOOMED, (session_id,))]


def _forget(session_id: str, names: Sequence[str], connection: Transaction) -> None:
    for name in names:
        connection.execute(_REMOVE_DOOMED, (name,))
    connection.execute(_REMOVE_USES, (session_id,))


def _link_all(source: Path, target: Path) -> None:
    with named_os_errors(target):
        if not source.is_dir():
            return
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for blob in source.iterdir():
            with suppress(FileExistsError):
                os.link(blob, target / blob.name)
