"""Opens SQLite, and maps its errors to storage errors in one place.

Every connection passes through `_configure`. Every apsw exception that leaves this package passes through
`storage_error`, which decides by its class and never by its text.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from storage.errors import (
    StorageBusy,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageReadOnly,
    StorageUnavailable,
)

__all__ = [
    "APPLICATION_ID",
    "is_frozen",
    "mapped_errors",
    "named_os_errors",
    "open_reader",
    "open_writer",
    "storage_error",
]

APPLICATION_ID = 0x424F5331
"""`BOS1` in the file's header: marks a database of this program."""

BUSY_TIMEOUT_MS = 1_000
"""How long to wait for a lock of another process (a backup, a person's `sqlite3`) before `StorageBusy`."""

READER_CACHE_KIB = 1_024
"""Page cache of one reader. Pages are read once and passed on, so a larger cache would only cost memory."""

_ROLES: tuple[tuple[type[apsw.Error], type[StorageError], str], ...] = (
    (apsw.FullError, StorageFull, "no space left, or the size limit is reached"),
    (apsw.ReadOnlyError, StorageReadOnly, "the file or its folder cannot be written"),
    (apsw.PermissionsError, StorageReadOnly, "access to the file is not permitted"),
    (apsw.BusyError, StorageBusy, "another process holds a lock on it"),
    (apsw.LockedError, StorageBusy, "it is locked"),
    (apsw.CorruptError, StorageCorrupt, "the database is damaged; restore a backup"),
    (apsw.NotADBError, StorageCorrupt, "this is not a database; restore a backup"),
    (apsw.CantOpenError, StorageUnavailable, "the file cannot be opened"),
    (apsw.IOError, StorageUnavailable, "reading or writing failed"),
    (apsw.NoMemError, StorageUnavailable, "out of memory"),
    (apsw.InterruptError, StorageUnavailable, "interrupted"),
)

_OS_ROLES: dict[int, type[StorageUnavailable]] = {
    errno.EROFS: StorageReadOnly,
    errno.EACCES: StorageReadOnly,
    errno.EPERM: StorageReadOnly,
    errno.ENOSPC: StorageFull,
    errno.EDQUOT: StorageFull,
}


def storage_error(error: apsw.Error, path: Path) -> StorageError:
    """Return the storage error for one of SQLite's, with one line that names the file."""
    if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE:
        return StorageFull(f"{path}: no space left for its shared memory file")
    for theirs, ours, cause in _ROLES:
        if isinstance(error, theirs):
            return ours(f"{path}: {cause}")
    return StorageError(f"{path}: unexpected {type(error).__name__}")


@contextmanager
def mapped_errors(path: Path) -> Iterator[None]:
    """Raise apsw's errors in the block as `storage_error` maps them. A text that is not UTF-8 counts as damage."""
    try:
        yield
    except apsw.Error as error:
        raise storage_error(error, path) from error
    except UnicodeDecodeError as error:
        raise StorageCorrupt(f"{path}: a text in it is not UTF-8") from error


@contextmanager
def named_os_errors(path: Path) -> Iterator[None]:
    """Raise the operating system's errors in the block as storage errors, in one line that names the file."""
    try:
        yield
    except OSError as error:
        raise _os_error(error, path) from error


def _os_error(error: OSError, path: Path) -> StorageUnavailable:
    role = _OS_ROLES.get(error.errno or 0, StorageUnavailable)
    return role(f"{path}: {error.strerror}")


def open_writer(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open the database for writing in WAL mode, or create it with mode 0600.

    Raises:
        StorageCorrupt: the file is not a database.
        StorageUnavailable: it cannot be opened or written; its subclass gives the cause.
    """
    _make_private(path)
    with mapped_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        with _closed_on_error(connection):
            _configure(connection)
            if connection.readonly("main"):
                raise StorageReadOnly(f"{path}: the file or its folder cannot be written")
            connection.pragma("journal_mode", "wal")
    return connection


def open_reader(path: Path, *, vfs: str | None = None) -> apsw.Connection:
    """Open an existing database for reading only.

    SQLite may still have to create the shared-memory file, which a read-only handle could not; hence `query_only`. On a
    read-only mount it can create none and needs none: nobody writes there.
    """
    with mapped_errors(path):
        if vfs is None and is_frozen(path):
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            connection = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
        else:
            connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        with _closed_on_error(connection):
            _configure(connection)
            connection.pragma("query_only", 1)
            connection.pragma("cache_size", -READER_CACHE_KIB)
    return connection


def is_frozen(path: Path) -> bool:
    """Tell whether a file lies on a read-only mount."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False  # opening it finds out


def _configure(connection: apsw.Connection) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # A checkpoint inside a commit stalls all callers for as long as the disk takes;
    # `storage.sqlite.checkpoint` does them.
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("synchronous", "normal")
    connection.pragma("foreign_keys", 1)
    connection.pragma("trusted_schema", 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    if sys.platform == "darwin":
        # fsync on macOS leaves the data in the drive's cache. This setting matters only if a sync happens at
        # all, so it costs nothing while `synchronous` is NORMAL.
        connection.pragma("fullfsync", 1)
        connection.pragma("checkpoint_fullfsync", 1)


def _make_private(path: Path) -> None:
    """Create the file with mode 0600 whatever the umask; SQLite gives its WAL and shm the mode of the file.

    An existing file is never opened here: closing any handle on it would drop all locks that SQLite holds on it for
    this process, and another program could then remove the WAL while it is in use.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        with suppress(OSError):  # a file of another owner; SQLite reports whether it can be used
            if path.is_file():
                path.chmod(0o600)
        return
    except OSError as error:
        raise _os_error(error, path) from error
    try:
        os.fchmod(handle, 0o600)  # the umask may have removed permissions
    finally:
        os.close(handle)  # new and empty, so no connection has a lock on it


@contextmanager
def _closed_on_error(connection: apsw.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise
