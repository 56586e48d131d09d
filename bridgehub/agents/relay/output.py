"""What is kept of a relay's output: of stdout the last payload line, of stderr the last words. No I/O."""

from __future__ import annotations

import attrs

from bridgehub.agents.relay.text import PAYLOAD

__all__ = ["MAX_LINE_BYTES", "LastWords", "LineTooLong", "PayloadFinder"]

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A payload line: the answer and twice the history. Other lines are thrown away as they come."""

LAST_WORDS_BYTES = 2048
"""How much of stderr an error shows."""


class LineTooLong(Exception):
    """A payload line is over the limit."""


@attrs.define(eq=False)
class PayloadFinder:
    """Finds the last payload line in a stream, in constant memory but for that line."""

    limit_bytes: int = MAX_LINE_BYTES
    payload: bytes | None = None
    _line: bytearray = attrs.field(factory=bytearray)
    _skipping: bool = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises LineTooLong."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            self._add(data[start:end])
            self._end_line()
            start = end + 1
        self._add(data[start:])

    def finish(self) -> bytes | None:
        """Take the end of the stream; return the last payload, None where there was none."""
        self._end_line()
        return self.payload

    def _add(self, part: bytes) -> None:
        if self._skipping:
            return
        self._line += part
        length = len(self._line)
        if not PAYLOAD.startswith(bytes(self._line[: len(PAYLOAD)])) and length:
            self._skipping = True
            self._line.clear()
        elif length > self.limit_bytes + len(PAYLOAD):
            raise LineTooLong

    def _end_line(self) -> None:
        if self._line.startswith(PAYLOAD):
            self.payload = bytes(self._line[len(PAYLOAD) :])
        self._line = bytearray()
        self._skipping = False


@attrs.define(eq=False)
class LastWords:
    """The end of a stream."""

    _kept: bytearray = attrs.field(factory=bytearray)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._kept += data[-LAST_WORDS_BYTES:]
        del self._kept[:-LAST_WORDS_BYTES]

    def text(self) -> str:
        """Return them as text for an error."""
        return self._kept.decode(errors="replace").replace("\0", "").strip()
