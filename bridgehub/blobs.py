"""Texts too long for an event: kept whole, one file each, in `HubSpec.blob_folder`, named by their sha256.

The server serves these files and writes none of them, so a name is either absent or stands for the whole text:
a file is complete and on disk before it gets its name, and before any event names it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

__all__ = ["Blob", "blob_of", "keep_blob", "write_blob"]


@attrs.frozen
class Blob:
    """A whole text. `size` in bytes of `data`, `sha256` in lower-case hex: also its file's name."""

    data: bytes = attrs.field(repr=False)
    sha256: str

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)

    def told(self) -> dict[str, Any]:
        """Return what an event says of it."""
        return {"size": self.size, "sha256": self.sha256}


def blob_of(data: bytes) -> Blob:
    """Return the blob of these bytes. Nothing is written."""
    return Blob(data, hashlib.sha256(data).hexdigest())


async def keep_blob(folder: str, blob: Blob) -> None:
    """Write the blob on a thread, see `write_blob`. A cancelled call finishes the write first."""
    await trio.to_thread.run_sync(write_blob, folder, blob)


def write_blob(folder: str, blob: Blob) -> None:
    """Write the blob into `folder`, fsynced, mode 0600; nothing if it is there already. Blocks.

    The folder is made (0700) if it is missing. A kill in the middle leaves a file `.new-…`, never a blob.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = place / blob.sha256
    if target.exists():
        return
    descriptor, name = tempfile.mkstemp(prefix=".new-", dir=place)  # 0600 by contract
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(blob.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(place)


def _sync_folder(folder: Path) -> None:
    """Have the new name survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
