"""The file beside the socket that a hub's unacknowledged events go to while no server is there.

It exists to bound memory, not to survive: `Outbox` writes whole blocks of lines at its end and reads them
back block by block. Calls are short (at most about 1 MiB to the page cache) and block the hub's loop, which
serves one agent.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import attrs

__all__ = ["SPOOL_LIMIT_BYTES", "Spool"]

SPOOL_LIMIT_BYTES = 64 * 1024 * 1024
"""Bytes in the file before the hub stops reading from its agent."""


@attrs.frozen
class _Block:
    first_seq: int
    last_seq: int
    offset: int
    length: int


@attrs.define(eq=False)
class Spool:
    """Blocks of lines in a file, oldest first. The file is made with the first block."""

    path: Path
    limit_bytes: int = SPOOL_LIMIT_BYTES
    _blocks: deque[_Block] = attrs.field(factory=deque)
    _size: int = 0
    _descriptor: int | None = None

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def size(self) -> int:
        """Bytes in the file, those of acknowledged blocks before the oldest one too."""
        return self._size

    def has_room(self, length: int) -> bool:
        """Tell whether a block of `length` bytes fits."""
        return self._size + length <= self.limit_bytes

    def append(self, first_seq: int, last_seq: int, data: bytes) -> None:
        """Write a block at the end. Raises OSError (a full disk), and then the file is as before."""
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        written = 0
        try:
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._size + written)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._blocks.append(_Block(first_seq, last_seq, self._size, len(data)))
        self._size += len(data)

    def read(self, index: int) -> tuple[int, bytes]:
        """Return the first seq and the bytes of the block at `index`, 0 being the oldest."""
        assert self._descriptor is not None
        block = self._blocks[index]
        data = os.pread(self._descriptor, block.length, block.offset)
        assert len(data) == block.length, "a spool is written by its hub alone"
        return block.first_seq, data

    def drop_through(self, seq: int) -> int:
        """Forget blocks that end at `seq` or before; return how many. An empty spool gives its bytes back."""
        dropped = 0
        while self._blocks and self._blocks[0].last_seq <= seq:
            self._blocks.popleft()
            dropped += 1
        if dropped and not self._blocks and self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self._size = 0
        return dropped

    def keep_as(self, path: Path) -> None:
        """Make the file last under another name: fsynced, with its folder. Nothing may be called after it."""
        if self._descriptor is None:
            return
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        self.path.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Close the file and leave it where it is. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
