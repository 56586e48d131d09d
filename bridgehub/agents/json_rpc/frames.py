"""The client's side of a WebSocket on a Unix socket, as Codex speaks it. No I/O.

A program writes up to 35,000 messages a second, so this reads only what Codex's server sends: unmasked text frames
without extensions. Our own frames carry the mask zero. A mask protects proxies on the way, and a Unix socket has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from bridgehub.agents.errors import BadOutput

__all__ = ["UPGRADE", "Frames", "frame"]

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: YnVpbGRlcm9zLW1vYmlsZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""What opens a connection. The key need not be a secret: it only shows that the other side speaks the protocol."""

MAX_HEAD_BYTES = 16 * 1024
"""Bytes of the server's answer to `UPGRADE`."""

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

_MASK = b"\0\0\0\0"


def frame(data: bytes, kind: int = TEXT) -> bytes:
    """Return one whole message as a frame."""
    size = len(data)
    if size < 126:
        head = bytes((128 | kind, 128 | size))
    elif size < 1 << 16:
        head = bytes((128 | kind, 254)) + size.to_bytes(2, "big")
    else:
        head = bytes((128 | kind, 255)) + size.to_bytes(8, "big")
    return head + _MASK + data


@attrs.define(eq=False)
class Frames:
    """Cuts what comes from the server into messages of at most `limit` bytes.

    Attributes:
        replies: what must be sent back, oldest first.
        is_over: whether the server has closed the connection.
        is_open: whether it has agreed to the protocol. Nothing may be sent before.
    """

    limit: int
    replies: list[bytes] = attrs.field(factory=list)
    is_over: bool = False
    is_open: bool = False
    _buffer: bytearray = attrs.field(factory=bytearray)
    _parts: bytearray = attrs.field(factory=bytearray)

    def feed(self, chunk: bytes | bytearray) -> Iterator[bytearray]:
        """Yield the messages that are now complete. Raises BadOutput."""
        buffer = self._buffer
        buffer += chunk
        at = 0
        if not self.is_open:
            at = self._take_head()
        while self.is_open and not self.is_over and len(buffer) - at >= 2:
            begin, size = buffer[at], buffer[at + 1]
            start = at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[at + 2 : start], "big")
            if size + len(self._parts) > self.limit:
                raise BadOutput(f"a message of over {self.limit} bytes")
            if len(buffer) < start + size:
                break
            at = start + size
            data = buffer[start:at]
            if begin == 129:  # nearly all of them: one whole text
                yield data
            else:
                yield from self._take_other(begin, data)
        del buffer[:at]

    def _take_head(self) -> int:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadOutput("an answer that is not HTTP")
            return 0
        if not self._buffer.startswith(b"HTTP/1.1 101"):
            raise BadOutput("an answer that refuses a WebSocket")
        self.is_open = True
        return end + 4

    def _take_other(self, begin: int, data: bytearray) -> Iterator[bytearray]:
        kind = begin & 15
        if begin & 112 or (kind >= CLOSE and not begin & 128):
            raise BadOutput("a frame that is not of the protocol")
        if kind == PING:
            self.replies.append(frame(bytes(data), PONG))
        elif kind == CLOSE:
            self.is_over = True
        elif kind != PONG:
            self._parts += data
            if begin & 128:
                whole, self._parts = self._parts, bytearray()
                yield whole
