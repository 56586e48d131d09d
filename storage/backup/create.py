"""Writes a backup of a data folder, whether a server has it open or not.

The database is copied first, as one state. A file is always added before its row. So every file that the copy names
exists afterwards, unless its session was removed meanwhile. Files that a server creates again (lock, log, sockets and
files of hubs) are left out. Everything here blocks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

import apsw

from storage.backup.archive import KEY, Member, Proof, write_archive
from storage.data_folder import BLOBS_NAME, DATABASE_NAME, UPLOADS_NAME
from storage.errors import StorageCorrupt, StorageUnavailable
from storage.permissions import OWN_NAMES
from storage.schema import copy_database
from storage.sqlite.connection import APPLICATION_ID, mapped_errors, named_os_errors, open_writer
from storage.sqlite.replace import sync_folder
from storage.tables.uploads import PART

__all__ = ["check_database", "opened_still", "write_backup"]

_SESSIONS = "SELECT count(*) FROM sessions"
_UPLOADS = "SELECT name FROM upload WHERE doomed = 0 ORDER BY name"
_HAS_UPLOADS = "SELECT count(*) FROM sqlite_schema WHERE name = 'upload'"

_READ_URI = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI

_FOLDER = re.compile(r"[a-z0-9_=-][a-z0-9._-]{0,200}")
_BLOB = re.compile(r"[0-9a-f]{64}")


def write_backup(data: Path, target: Path, *, made_at: str) -> Proof:
    """Write a backup of the folder `data` to `target`, mode 0600. An existing file is replaced once the new one is
    complete.

    Beside `target` it needs space for one more copy of the database; `TARGET.partial` and `TARGET.database` are
    temporary. A running server continues; its WAL grows until the database is copied.

    Raises:
        StorageCorrupt: the database is damaged or not one of ours.
        StorageUnavailable: there is no database, or the backup cannot be written; `target` is unchanged.
    """
    database = data / DATABASE_NAME
    if _is_own(data, target):
        raise StorageUnavailable(f"{target}: this is a file of the data folder itself; name another file")
    if not database.is_file():
        raise StorageUnavailable(f"{database}: there is no database yet")
    copy = target.with_name(target.name + ".database")
    partial = target.with_name(target.name + ".partial")
    try:
        _copy(database, copy)
        schema, sessions, names = _look(copy)
        members = _members(data, copy, names)
        proof = write_archive(partial, members, made_at=made_at, schema=schema, sessions=sessions)
        with named_os_errors(target):
            partial.replace(target)
            sync_folder(target.parent)
    finally:
        for passing in (copy, partial):
            passing.unlink(missing_ok=True)
    return proof


def check_database(path: Path) -> int:
    """Check that a database that nobody has open is ours and sound; return its version.

    Raises:
        StorageCorrupt: it is not.
        StorageUnavailable: it cannot be read.
    """
    with opened_still(path) as connection:
        return _check(connection, path)


@contextmanager
def opened_still(path: Path) -> Iterator[apsw.Connection]:
    """Open a database that nobody writes to, for reading; no file is created beside it. Raises apsw's errors as
    ours."""
    with mapped_errors(path):
        connection = apsw.Connection(f"file:{quote(str(path))}?immutable=1", flags=_READ_URI)
        try:
            yield connection
        finally:
            connection.close()


def _check(connection: apsw.Connection, path: Path) -> int:
    if connection.pragma("application_id") != APPLICATION_ID:
        raise StorageCorrupt(f"{path}: this is not a database of this program")
    if connection.pragma("integrity_check", 1) != "ok":
        raise StorageCorrupt(f"{path}: the database is damaged")
    return int(connection.pragma("user_version"))


def _is_own(data: Path, target: Path) -> bool:
    """Return whether a file belongs to the data folder or lies below one of its folders, whatever path names it."""
    real, folder = Path(os.path.realpath(target)), Path(os.path.realpath(data))
    first = real.relative_to(folder).parts[:1] if real.is_relative_to(folder) else ()
    return any(fnmatchcase(name, pattern) for name in first for pattern in OWN_NAMES)


def _copy(database: Path, copy: Path) -> None:
    connection = open_writer(database)  # only reads, but `query_only` would forbid the copy
    try:
        with mapped_errors(database):
            if connection.pragma("application_id") != APPLICATION_ID:
                raise StorageCorrupt(f"{database}: this is not a database of this program")
        copy_database(connection, copy)
    finally:
        connection.close()


def _look(copy: Path) -> tuple[int, int, list[str]]:
    """Return the copy's version, its number of sessions and its uploads. Raises if it is not sound."""
    with opened_still(copy) as connection:
        version = _check(connection, copy)
        names: list[str] = []
        if connection.execute(_HAS_UPLOADS).get:  # an older database, without uploads, can be backed up too
            names = [name for (name,) in connection.execute(_UPLOADS)]
        return version, connection.execute(_SESSIONS).get, names


def _members(data: Path, copy: Path, names: list[str]) -> Iterator[Member]:
    yield Member(DATABASE_NAME, (copy,))
    yield Member(KEY, (data / KEY,))
    for name in names:
        path = data / UPLOADS_NAME / name
        # A file whose row was just committed may not be renamed yet; it is whole.
        yield Member(f"{UPLOADS_NAME}/{name}", (path, path.with_name(name + PART), path))
    for folder in _listed(data / BLOBS_NAME, _FOLDER):
        for blob in _listed(folder, _BLOB):
            yield Member(f"{BLOBS_NAME}/{folder.name}/{blob.name}", (blob,))


def _listed(folder: Path, name: re.Pattern[str]) -> list[Path]:
    try:
        with named_os_errors(folder):
            return [folder / each for each in sorted(os.listdir(folder)) if name.fullmatch(each)]
    except StorageUnavailable as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return []  # none yet, or removed with its session
        raise
