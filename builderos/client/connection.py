"""One signed-in WebSocket from a terminal to a server, and the search for that server."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio
import trio_websocket
import wsproto.utilities

from bridgehub.protocol.errors import unwrap
from builderos.client.frames import Frame, FrameError, decode
from builderos.client.state import RefusedError
from storage.data_folder import read_holder

__all__ = [
    "KEY_FILE",
    "LinkLostError",
    "NoServerError",
    "Server",
    "ServerConnection",
    "connect",
    "find_server",
]

KEY_FILE = "api-key"
"""In the data folder: the first device's key."""

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

PERMANENT_CLOSES = {4401: "the key is not valid", 4403: "this key does not allow that"}
"""Close codes after which reconnecting does not help."""


class NoServerError(Exception):
    """The command finds no server or no key; the text says what to do."""


class LinkLostError(Exception):
    """The connection is lost or cannot be made; a later one may succeed."""


@attrs.frozen
class Server:
    """A server's address, `http` or `https`, and the key for it.

    Attributes:
        is_own: it is the server of the data folder, which recorded this address.
    """

    url: str
    key: str = attrs.field(repr=False)
    is_own: bool = False

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return how to check the server; None without TLS.

        Our own server over loopback is not checked: its certificate is for the name that other machines use, and
        without TLS nothing would be checked there either.
        """
        parts = urlsplit(self.url)
        if parts.scheme != "https":
            return None
        context = ssl.create_default_context()
        if self.is_own and _is_loopback(parts.hostname or ""):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def find_server(data: Path, url: str | None, key: str | None) -> Server:
    """Find a server by its data folder; `url` and `key` override the folder's values.

    Raises:
        NoServerError: the folder names no server or no key, or `url` is not an address.
    """
    is_own = url is None
    if url is None:
        holder = read_holder(data)
        if holder is None or not holder.address or not holder.is_running():
            raise NoServerError(f"no server runs on {data}; start one with: builderos serve")
        url = holder.address
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise NoServerError(f"{url} is not an address like http://127.0.0.1:8080")
    base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    return Server(base, _read_key(data) if key is None else key, is_own)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_key(data: Path) -> str:
    try:
        key = (data / KEY_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoServerError(f"{data} has no readable key; give one with --key") from error
    if not key:
        raise NoServerError(f"{data} has no key; give one with --key")
    return key


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
