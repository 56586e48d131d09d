"""Reading files of a folder that a stranger may have made. Blocking: use a thread.

Nothing here waits for a FIFO, follows a device, or reads more than its bound.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "MAX_CONFIG_BYTES",
    "MAX_FILES_OF_A_FOLDER",
    "MAX_PARENTS",
    "files_below",
    "project_folders",
    "read_file",
    "read_text",
    "sha256_of",
]

MAX_CONFIG_BYTES = 1024 * 1024
"""Bytes of one settings file; a larger one counts as one that cannot be read."""

MAX_FILES_OF_A_FOLDER = 500
"""Files of one folder of commands, agents or rules that are looked at."""

MAX_HASHED_BYTES = 32 * 1024 * 1024
"""Bytes of a file that are hashed; of a longer one its size and time of change count besides."""

MAX_PARENTS = 64
"""Folders above a workspace that are looked at."""

_CHUNK_BYTES = 1024 * 1024


def read_file(path: Path, limit: int = MAX_CONFIG_BYTES) -> bytes | None:
    """Return a regular file's bytes; None if it is none, cannot be read, or is longer than `limit`."""
    descriptor = _open(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            data = file.read(limit + 1)
        except OSError:
            return None
    return data if len(data) <= limit else None


def read_text(path: Path) -> str | None:
    """Return a file's text; None if there is none that can be read."""
    data = read_file(path)
    return None if data is None else data.decode("utf-8-sig", errors="replace")


def sha256_of(path: Path) -> str:
    """Return a digest of a file's content; empty if it is not a file that can be read."""
    descriptor = _open(path)
    if descriptor is None:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        told, digest, left = os.fstat(descriptor), hashlib.sha256(), MAX_HASHED_BYTES
        try:
            while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                digest.update(chunk)
                left -= len(chunk)
        except OSError:
            return ""
    if told.st_size > MAX_HASHED_BYTES:
        digest.update(f"{told.st_size} {told.st_mtime_ns}".encode())
    return digest.hexdigest()


def files_below(folder: Path, suffix: str = "") -> Iterator[Path]:
    """Return the files below a folder in a fixed order, at most `MAX_FILES_OF_A_FOLDER` and one more."""
    left = MAX_FILES_OF_A_FOLDER + 1
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(suffix):
                yield Path(place) / name
                left -= 1
                if left == 0:
                    return


def project_folders(workspace: Path) -> list[Path]:
    """Return the workspace and the folders above it up to its project's root (that with `.git`).

    Without one the workspace alone is its project.
    """
    folders = [workspace, *workspace.parents][:MAX_PARENTS]
    for index, folder in enumerate(folders):
        if os.path.lexists(folder / ".git"):
            return folders[: index + 1]
    return [workspace]


def _open(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
