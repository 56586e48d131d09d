"""A peer that speaks bytes: for requests and frames that no decent client sends."""

from __future__ import annotations

import trio
from wsproto.frame_protocol import FrameProtocol, Opcode

__all__ = ["RawPeer", "open_raw"]

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)


class RawPeer:
    """One TCP connection to the server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.frames = FrameProtocol(client=True, extensions=[])

    async def request(self, text: str) -> bytes:
        """Send a request; return all that comes until the server closes."""
        await self.stream.send_all(text.encode("latin-1"))
        return await self.rest()

    async def rest(self) -> bytes:
        got = bytearray()
        while chunk := await self.stream.receive_some():
            got += chunk
        return bytes(got)

    async def upgrade(self, path: str = "/api/ws", key: str | None = "key-of-phone") -> bytes:
        """Become a WebSocket; return the answer's head."""
        more = "" if key is None else f"X-API-Key: {key}\r\n"
        await self.stream.send_all(HANDSHAKE.format(path=path, more=more).encode())
        return await self.head()

    async def head(self) -> bytes:
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            one = await self.stream.receive_some(1)
            if not one:
                break
            got += one
        return got

    async def opcode(self, wanted: Opcode) -> object:
        """Return the payload of the next frame of a kind; the others are dropped."""
        while True:
            for frame in self.frames.received_frames():
                if frame.opcode is wanted:
                    return frame.payload
            more = await self.stream.receive_some()
            assert more, f"the end came before {wanted!r}"
            self.frames.receive_bytes(more)


async def open_raw(port: int, *, small_buffer: bool = False) -> RawPeer:
    """Connect; with `small_buffer` the kernel keeps little of what we do not read."""
    if not small_buffer:
        return RawPeer(await trio.open_tcp_stream("127.0.0.1", port))
    socket = trio.socket.socket()
    socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await socket.connect(("127.0.0.1", port))
    return RawPeer(trio.SocketStream(socket))
