"""Lines out of a stream of bytes, bounded. Knows no I/O."""

from __future__ import annotations

import attrs

from bridgehub.protocol.errors import LinkError

__all__ = ["MAX_LINE_BYTES", "LineBuffer"]

MAX_LINE_BYTES = 8 * 1024 * 1024
"""Bytes of one line of the link: a prompt (256 KiB) or a tool's input fits many times over."""


@attrs.define(eq=False)
class LineBuffer:
    """Collects bytes and gives complete lines. The search for a line's end continues where it stopped."""

    limit: int = MAX_LINE_BYTES
    _data: bytearray = attrs.field(factory=bytearray)
    _searched: int = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Add `data`; return all lines that are complete now, without their newlines, none of them empty.

        Raises:
            LinkError: `too_long`, a line is over the limit. The buffer is of no use after that.
        """
        held = self._data
        held += data
        end = held.rfind(b"\n", self._searched)
        if end < 0:
            self._searched = len(held)
            if self._searched > self.limit:
                raise LinkError("too_long")
            return []
        block = bytes(held[:end])
        del held[: end + 1]
        self._searched = len(held)
        lines = [line for line in block.split(b"\n") if line]
        if self._searched > self.limit or (
            len(block) > self.limit and any(len(line) > self.limit for line in lines)
        ):
            raise LinkError("too_long")
        return lines

    @property
    def pending(self) -> int:
        """Bytes of the line that has begun."""
        return len(self._data)
