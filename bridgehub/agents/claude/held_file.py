"""A text that the program reads from a path but that must not be on a disk, since an environment may hold secrets.

On Linux it is memory that the program reaches through this process. Elsewhere it is a file in the hub's private folder,
removed when the program ends.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

import attrs

__all__ = ["HeldFile", "hold"]


_numbers = count(1)
"""Numbers for the names of files."""


@attrs.define(eq=False)
class HeldFile:
    """A readable text, made by `hold`. `path` is valid until `close`."""

    path: str
    _descriptor: int | None

    def close(self) -> None:
        """Release the text. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor, self.path = None, ""
        elif self.path:
            with suppress(OSError):
                os.unlink(self.path)
            self.path = ""


def hold(text: bytes, folder: str) -> HeldFile:
    """Make the text readable under a path. Blocks for a moment.

    Args:
        text: what the program reads.
        folder: a private folder, for systems without such memory.

    Raises:
        OSError: the file cannot be made.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("builderos", os.MFD_CLOEXEC)
        held = HeldFile(f"/proc/{os.getpid()}/fd/{descriptor}", descriptor)
    else:
        path = Path(folder) / f"held-{os.getpid()}-{next(_numbers)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        held = HeldFile(str(path), None)
    with os.fdopen(descriptor, "wb", closefd=held._descriptor is None) as file:
        file.write(text)
    return held
