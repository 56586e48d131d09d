"""Keeps the data folder private to its owner: fixes permissions if it can, and refuses the folder if it cannot.

Only the files that this program creates are checked. A person may have given a folder that holds other things too;
their modes are not ours to change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from storage.errors import InsecureDataFolder
from storage.sqlite.connection import named_os_errors

__all__ = ["OWN_NAMES", "make_private", "open_private"]

OWN_NAMES: Final = (
    *("lock", "api-key", "api-key.new", "audit-head", "audit-head.new", "builderos.db*", "server.log*"),
    *("commit-head", "commit-head.new", "socket-folder", "hubs", "uploads", "blobs", "import", "trust"),
)
"""The contents of a data folder, as patterns."""

MAX_ENTRIES: Final = 20_000
"""Files and folders to check; takes a tenth of a second. The rest lies in folders that were made private."""

_WRITING: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def make_private(data: Path) -> list[Path]:
    """Remove all permissions of group and others from our files; return the files that were open to them. Blocks.

    Raises:
        InsecureDataFolder: the folder or something of ours in it belongs to another user, or everybody may write there.
        StorageUnavailable: a mode cannot be read or changed.
    """
    me = os.geteuid()
    with named_os_errors(data):
        folder = data.stat()
    if folder.st_uid != me:
        raise InsecureDataFolder(
            f"{data} belongs to another user (id {folder.st_uid}): run as that user, or chown it"
        )
    if folder.st_mode & stat.S_ISVTX:
        raise InsecureDataFolder(f"{data} is a folder that all users share; name one that only you use")
    with named_os_errors(data):
        data.chmod(stat.S_IRWXU)
    fixed: list[Path] = []
    for number, path in enumerate(_own_paths(data)):
        if number >= MAX_ENTRIES:
            break
        fixed += _fix(path, me)
    # A folder that others could only list showed them names. One that they could write to is always reported.
    if folder.st_mode & _OTHERS and (fixed or folder.st_mode & _WRITING):
        fixed.insert(0, data)
    return fixed


def _fix(path: Path, me: int) -> list[Path]:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return []  # a hub may end at any time and remove its files
    if stat.S_ISLNK(found.st_mode):
        return []
    if found.st_uid != me:
        raise InsecureDataFolder(
            f"{path} belongs to another user (id {found.st_uid}): run as that user, or chown it"
        )
    if not found.st_mode & _OTHERS:
        return []
    with named_os_errors(path):
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    return [path]


def _own_paths(data: Path) -> Iterator[Path]:
    for pattern in OWN_NAMES:
        for path in data.glob(pattern):
            yield path
            if path.is_symlink():
                continue
            for folder, folders, files in os.walk(path):
                yield from (Path(folder, name) for name in (*folders, *files))


def open_private(path: str, flags: int) -> int:
    """Open a file, for use as the `opener` of `open`: a new file has mode 0600, whatever the umask."""
    handle = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if flags & os.O_CREAT:
        os.fchmod(handle, 0o600)
    return handle
