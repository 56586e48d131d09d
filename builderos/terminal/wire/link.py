"""One signed-in WebSocket on asyncio. Framing is wsproto's; what may fail is mapped to the errors of `attach`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import attrs
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from builderos.client.state import RefusedError
from builderos.client.wire.frames import Frame, FrameError, decode
from builderos.client.wire.server import PERMANENT_CLOSES, LinkLostError, Server

__all__ = ["Link", "open_link"]

CONNECT_S: Final = 10.0
"""How long a connection and its sign-in may take."""

CLOSE_S: Final = 1.0
"""How long the socket may take to accept our close frame; then it is cut, and nothing is lost."""

MAX_FRAME: Final = 1024 * 1024
"""Characters of a frame; the server's are at most half of this."""

READ_BYTES: Final = 64 * 1024

MAX_UNSENT_BYTES: Final = 64 * 1024 * 1024
"""Bytes that the socket has not accepted yet: more than a whole outbox. Beyond this the connection counts as lost."""


@attrs.define(eq=False)
class Link:
    """A connection. One task receives; `send` never waits.

    Attributes:
        ready: the server's answer to the sign-in.
        round_trip_s: how long that took.
    """

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _websocket: WSConnection
    ready: Frame | None = None
    round_trip_s: float = 0.0
    _frames: deque[Frame] = attrs.field(factory=deque)
    _parts: list[str] = attrs.field(factory=list)
    _size: int = 0
    _patience: asyncio.Timeout | None = None

    def send(self, frame: str) -> None:
        """Write a frame. Raises LinkLostError."""
        self._write(TextMessage(frame))

    async def receive(self, limit_s: float) -> Frame:
        """Wait for a frame.

        Raises:
            LinkLostError: the connection is gone, or nothing arrived for `limit_s`.
            RefusedError: the server closed it permanently.
        """
        if not self._frames:
            with _mapped():
                async with asyncio.timeout(limit_s) as self._patience:
                    await self._read()
                    while not self._frames:
                        await self._read()
            self._patience = None
        return self._frames.popleft()

    def expect(self, within_s: float) -> None:
        """Give up the connection if nothing arrives within this time."""
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time() + within_s)

    async def open(self, host: str, target: str, key: str) -> None:
        """Shake hands and sign in."""
        headers = [(b"Authorization", f"Bearer {key}".encode())]
        began = monotonic()
        self._write(Request(host=host, target=target, extra_headers=headers))
        while not self._frames:
            await self._read()
        ready = self._frames.popleft()
        if ready.kind == "error":
            raise RefusedError(ready.text("code"), ready.content)
        if ready.kind != "ready":
            raise FrameError(f"the server's first frame is {ready.kind!r}, not ready")
        self.ready, self.round_trip_s = ready, monotonic() - began

    async def close(self) -> None:
        """Say goodbye, so that the server need not detect the end by itself."""
        with suppress(LinkLostError, OSError, ProtocolError, asyncio.TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                self._write(CloseConnection(1000))
                await self._writer.drain()
        self._writer.close()

    async def _read(self) -> None:
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise LinkLostError("the connection was lost")
        self._websocket.receive_data(data)
        for event in self._websocket.events():
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._parts.append(event.data)
                self._size += len(event.data)
                if self._size > MAX_FRAME:
                    raise LinkLostError("the server sent a frame that is too long")
                if event.message_finished:
                    self._frames.append(decode("".join(self._parts)))
                    self._parts.clear()
                    self._size = 0
            case Ping():
                self._write(event.response())
            case CloseConnection():
                if event.code in PERMANENT_CLOSES and not self._frames:
                    raise RefusedError("unauthorized", PERMANENT_CLOSES[event.code])
                raise LinkLostError(f"the connection was closed ({event.code})")
            case RejectConnection():
                raise LinkLostError(f"the server answered {event.status_code} instead of a WebSocket")
            case BytesMessage():
                raise LinkLostError("the server sent a binary frame")
            case AcceptConnection() | _:
                pass

    def _write(self, event: Event) -> None:
        with _mapped():
            transport = self._writer.transport
            if transport.is_closing() or transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
                raise LinkLostError("the connection was lost")
            self._writer.write(self._websocket.send(event))


@asynccontextmanager
async def open_link(server: Server) -> AsyncIterator[Link]:
    """Connect and sign in; close on leaving.

    Raises:
        LinkLostError: the server cannot be reached, or the connection was lost, also within the block.
        RefusedError: the key is not valid.
    """
    parts = urlsplit(server.url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with _mapped():
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=server.ssl_context(), limit=READ_BYTES * 4
            )
            link = Link(reader, writer, WSConnection(ConnectionType.CLIENT))
            try:
                await link.open(parts.netloc, f"{parts.path}/api/ws", server.key)
            except BaseException:
                writer.close()
                raise
    try:
        yield link
    finally:
        await link.close()


class _mapped:
    """Maps the ways in which a connection fails."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TimeoutError):
            raise LinkLostError("the server did not answer in time") from error
        if isinstance(error, OSError):
            raise LinkLostError(error.strerror or str(error) or type(error).__name__) from error
        if isinstance(error, ProtocolError | FrameError):
            raise LinkLostError(str(error) or type(error).__name__) from error
