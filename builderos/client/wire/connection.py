"""One signed-in WebSocket from a terminal to a server, and the search for that server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio
import trio_websocket
import wsproto.utilities

from bridgehub.protocol.errors import unwrap
from builderos.client.state import RefusedError
from builderos.client.wire.frames import Frame, FrameError, decode
from builderos.client.wire.server import (
    KEY_FILE,
    PERMANENT_CLOSES,
    LinkLostError,
    NoServerError,
    Server,
    find_server,
)

__all__ = [
    "KEY_FILE",
    "LinkLostError",
    "NoServerError",
    "Server",
    "ServerConnection",
    "connect",
    "find_server",
]

CONNECT_S = 10.0
"""How long a connection and its sign-in may take."""

WRITE_S = 30.0
"""How long a socket may refuse a frame before the connection counts as lost."""

CLOSE_S = 1.0
"""How long the server may take to answer our close frame. Then the socket is cut; nothing is lost."""

MAX_FRAME_BYTES = 1024 * 1024
"""The server's frames are at most half of this."""

READ_BYTES = 64 * 1024
"""Bytes of one read; the library's 4 KiB doubles the time of a large frame."""


@attrs.define(eq=False)
class ServerConnection:
    """A signed-in connection. One task receives; any task may send.

    Attributes:
        device_id: the label of this connection until it attaches with another one.
    """

    device_id: str
    _websocket: trio_websocket.WebSocketConnection

    async def send(self, frame: str) -> None:
        """Write a frame. A cancelled send leaves the connection unusable. Raises LinkLostError."""
        try:
            with trio.fail_after(WRITE_S):
                await self._websocket.send_message(frame)
        except (trio_websocket.ConnectionClosed, trio.TooSlowError) as error:
            raise LinkLostError("the connection was lost") from error

    async def receive(self) -> Frame:
        """Wait for a frame.

        Raises:
            LinkLostError: the connection is gone.
            RefusedError: the server closed it permanently.
        """
        return await _receive(self._websocket)


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[ServerConnection]:
    """Connect and sign in; close on leaving. An error of the block is raised without a group.

    Raises:
        LinkLostError: the server cannot be reached, or the connection was lost, also within the block.
        RefusedError: the key is not valid.
    """
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(CONNECT_S):
                    websocket = await _connect(nursery, server)
                    device_id = await _sign_in(websocket)
                try:
                    yield ServerConnection(device_id, websocket)
                finally:
                    # without this frame the server would have to detect the end by itself
                    with trio.move_on_after(CLOSE_S, shield=True):
                        await websocket.aclose()
            except Exception as error:  # raised below, outside of the nursery, so that no group wraps it
                failure = error
            nursery.cancel_scope.cancel(reason="the link is closed")
    except ExceptionGroup as group:  # what the library's reader may raise, see its issue 184
        rest = group.split(_BREAKS)[1]
        if rest is not None:
            raise
        failure = failure or group
    if isinstance(failure, _BREAKS) or (
        isinstance(failure, ExceptionGroup) and not failure.split(_BREAKS)[1]
    ):
        raise LinkLostError(_reason(failure)) from failure
    if failure is not None:
        raise failure


async def _connect(nursery: trio.Nursery, server: Server) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(server.url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return await trio_websocket.connect_websocket_url(
        nursery,
        urlunsplit((scheme, parts.netloc, f"{parts.path}/api/ws", "", "")),
        server.ssl_context(),
        extra_headers=[(b"Authorization", f"Bearer {server.key}".encode())],
        max_message_size=MAX_FRAME_BYTES,
        receive_buffer_size=READ_BYTES,
    )


async def _sign_in(websocket: trio_websocket.WebSocketConnection) -> str:
    """Wait for `ready`; return the device's id."""
    frame = await _receive(websocket)
    if frame.kind == "error":
        raise RefusedError(frame.text("code"), frame.content)
    if frame.kind != "ready":
        raise FrameError(f"the server's first frame is {frame.kind!r}, not ready")
    device = frame.body.get("device")
    name = device.get("id") if isinstance(device, dict) else None
    return name if isinstance(name, str) else "device"


async def _receive(websocket: trio_websocket.WebSocketConnection) -> Frame:
    try:
        message = await websocket.get_message()
    except trio_websocket.ConnectionClosed as error:
        code = error.reason.code if error.reason else None
        if code in PERMANENT_CLOSES:
            raise RefusedError("unauthorized", PERMANENT_CLOSES[code]) from error
        raise LinkLostError(
            f"the connection was closed ({code})" if code else "the connection was lost"
        ) from error
    return decode(message)


_BREAKS = (
    OSError,
    ssl.SSLError,
    trio.TooSlowError,
    trio.BrokenResourceError,
    trio_websocket.HandshakeError,
    trio_websocket.ConnectionClosed,
    wsproto.utilities.ProtocolError,
    FrameError,
)
"""The ways in which a connection fails."""


def _reason(failure: Exception) -> str:
    inner = unwrap(failure)
    if isinstance(inner, trio_websocket.ConnectionRejected):
        return f"the server answered {inner.status_code} instead of a WebSocket"
    if isinstance(inner, trio.TooSlowError):
        return f"the server did not answer within {CONNECT_S:g} s"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__
