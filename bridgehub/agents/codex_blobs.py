"""Where a tool's input or output goes whole when an event carries only its beginning."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

__all__ = ["Blobs"]


@attrs.frozen
class Blobs:
    """Files named by sha256 in `folder` (`HubSpec.blob_folder`); an empty one keeps nothing."""

    folder: str

    async def keep(self, blob: Mapping[str, Any] | None, whole: bytes | None) -> None:
        """Write `whole` down where it is not there yet. Raises OSError; a file is there whole or not at all."""
        if blob is None or whole is None or not self.folder:
            await trio.lowlevel.checkpoint()
            return
        await trio.to_thread.run_sync(_write, Path(self.folder), str(blob["sha256"]), whole)


def _write(folder: Path, name: str, whole: bytes) -> None:
    target = folder / name
    if target.exists():
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = folder / f".{name}.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(whole)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
