"""The stream below Hypercorn: it has the interface that Hypercorn expects, with limits that Hypercorn lacks.

Hypercorn writes under a shield and without a limit; here a write that takes too long breaks the stream. Hypercorn
closes at once; here its close only ends both directions for Hypercorn, and the caller drains the stream, since closing
a socket with unread input destroys the response that is still in flight.

Bytes after the first request are dropped: every response closes its connection, and Hypercorn closes at once if it sees
a second request, whether the first is answered or not.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

import trio

from transport.request_head import Refusal, refusal_bytes
from transport.streams import PutBackStream, Transport

__all__ = ["HttpStream", "TlsHttpStream", "drain", "http_stream"]

DRAIN_S: Final = 2.0
"""How long a peer may be silent after our response before its connection is cut."""

DRAIN_TOTAL_S: Final = 30.0
DRAIN_BYTES: Final = 256 * 1024 * 1024
"""Bytes that are dropped from a peer that keeps sending after our response: the rest of a refused upload. Many clients
read the response only once they have sent everything, and lose it if the connection is cut earlier."""

_BARE: Final = re.compile(rb"HTTP/1\.1 (4[0-9][0-9]) [^\r]*\r\ncontent-length: 0\r\n")
"""Our own responses with these statuses are never empty."""

_READ_BYTES: Final = 64 * 1024


class HttpStream(PutBackStream):
    """The stream of one HTTP connection.

    Attributes:
        finished: set once Hypercorn has closed it.
    """

    def __init__(self, stream: Transport, ahead: bytes, left: int | None, write_s: float) -> None:
        super().__init__(stream, ahead)
        self._left = left
        self._begun = False
        self.finished = trio.Event()
        self._transport = stream
        self._write_s = write_s
        self._reading: trio.CancelScope | None = None

    @property
    def socket(self) -> trio.socket.SocketType:
        """The socket, from which Hypercorn reads the addresses."""
        return _socket_of(self._transport)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Implements `trio.abc.ReceiveStream`. Raises ClosedResourceError after or during a close."""
        if self.finished.is_set():
            raise trio.ClosedResourceError
        data: bytes | bytearray = b""
        with trio.CancelScope() as self._reading:
            while True:
                data = await super().receive_some(max_bytes)
                if self._left is None or not data:
                    break
                data = data[: self._left]
                self._left -= len(data)
                if data:
                    break
        if self._reading.cancelled_caught:
            raise trio.ClosedResourceError
        self._reading = None
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Implements `trio.abc.SendStream`. Raises BrokenResourceError if the socket accepts nothing within
        `write_s`."""
        if self.finished.is_set():
            raise trio.ClosedResourceError
        if not self._begun:
            self._begun = True
            data = _with_reason(bytes(data))
        view = memoryview(data)
        for start in range(0, len(view), _READ_BYTES):
            with trio.move_on_after(self._write_s) as scope:
                await self.inner.send_all(view[start : start + _READ_BYTES])
            if scope.cancelled_caught:
                await trio.aclose_forcefully(self.inner)
                raise trio.BrokenResourceError("the socket accepted nothing")

    async def send_eof(self) -> None:
        """Does nothing: Hypercorn calls it during a write; `drain` ends our direction later."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End both directions for Hypercorn; the socket stays open. Idempotent."""
        self.finished.set()
        if self._reading is not None:
            self._reading.cancel(reason="the HTTP side has closed")
        await trio.lowlevel.checkpoint()


class TlsHttpStream(HttpStream):
    """The same over TLS; Hypercorn detects the scheme by these attributes."""

    @property
    def transport_stream(self) -> trio.SocketStream:
        """The stream below TLS."""
        assert isinstance(self._transport, trio.SSLStream)
        return self._transport.transport_stream

    async def do_handshake(self) -> None:
        """Does nothing: the handshake was done before the head was read."""
        await trio.lowlevel.checkpoint()

    def selected_alpn_protocol(self) -> str:
        """Return `http/1.1`, the only protocol of this port."""
        return "http/1.1"


def _with_reason(start: bytes) -> bytes:
    """Return the start of a response. If Hypercorn refuses an invalid body with an empty response, return our refusal
    instead."""
    bare = _BARE.match(start)
    if bare is None:
        return start
    return refusal_bytes(Refusal(int(bare[1]), "bad_request", "The request is not valid HTTP/1.1."))


def http_stream(stream: Transport, ahead: bytes, left: int | None, write_s: float) -> HttpStream:
    """Return the kind of stream that fits the transport.

    Args:
        stream: the transport.
        ahead: the bytes that were already read from it.
        left: bytes of the first request, from `ahead` on; None if unknown.
        write_s: how long the socket may refuse a write.
    """
    kind = TlsHttpStream if isinstance(stream, trio.SSLStream) else HttpStream
    return kind(stream, ahead, left, write_s)


async def drain(stream: Transport) -> None:
    """Keep reading briefly after our last bytes, until the peer closes, so that it can read them."""
    left = DRAIN_BYTES
    end = trio.current_time() + DRAIN_TOTAL_S
    with trio.move_on_after(DRAIN_S) as scope:  # noqa: ASYNC912 - reads until the end
        try:
            if isinstance(stream, trio.SocketStream):
                await stream.send_eof()
            while left > 0:
                data = await stream.receive_some(_READ_BYTES)
                if not data:
                    return
                left -= len(data)
                scope.deadline = min(trio.current_time() + DRAIN_S, end)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, ssl.SSLError):
            return


def _socket_of(stream: Transport) -> trio.socket.SocketType:
    return stream.socket if isinstance(stream, trio.SocketStream) else stream.transport_stream.socket
