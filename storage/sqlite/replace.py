"""Puts a finished file into the place of another, in one rename: a kill leaves the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path

from storage.errors import StorageBusy
from storage.sqlite.connection import named_os_errors

__all__ = ["put_database", "sync_file", "sync_folder", "write_note"]


def put_database(copy: Path, database: Path) -> None:
    """Replace `database` by `copy`, whole and on disk, or change nothing. Both are closed. Blocks.

    The last connection to close a database removes its WAL. If a WAL is left, another program has the database open. It
    would keep using the old file, or the WAL would be taken for that of the new file.

    Raises:
        StorageBusy: another program has one of them open.
        StorageUnavailable: nothing was changed.
    """
    for path in (database, copy):
        if path.with_name(path.name + "-wal").exists():
            raise StorageBusy(f"{database}: another program has it open; close that program first")
    with named_os_errors(database):
        sync_file(copy)
        copy.replace(database)
        sync_folder(database.parent)


def write_note(path: Path, line: str) -> None:
    """Make `path` hold one line of ASCII, durably, with mode 0600. Blocks.

    Raises:
        StorageUnavailable: it holds what it held.
    """
    partial_path = path.with_name(path.name + ".new")
    with named_os_errors(partial_path):
        partial_path.unlink(missing_ok=True)
        handle = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        partial_path.replace(path)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut. Blocks; raises OSError."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make a folder's names survive a power cut. Blocks; raises OSError."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
