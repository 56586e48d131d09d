"""How messages travel to and from a program: lines on its pipes, or frames on a Unix socket."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol, cast

import attrs
import trio

from bridgehub.agents.base import wait_gathered
from bridgehub.agents.errors import BadOutput, ProgramExited
from bridgehub.agents.json_rpc.frames import UPGRADE, Frames, frame
from bridgehub.agents.json_rpc.messages import LineCutter

__all__ = ["READ_BYTES", "Batched", "Pipes", "ProgramWire", "SocketWire", "connect", "receive"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Bytes of one message of the program. The largest seen is about 1.5 MB, a command's output as JSON."""

READ_BYTES = 256 * 1024
"""Bytes of one read."""

PIPE_BYTES = 64 * 1024
"""Bytes that a pipe holds. A read of that many means that the program is ahead, so gathering more saves nothing."""

Batched = tuple[Iterator[bytearray], bool]
"""The messages of one read, and whether the program is ahead of us."""


class ProgramWire(Protocol):
    """A way to a program."""

    async def receive(self, ripe_at: float = -math.inf) -> Batched | None:
        """Return what comes next, but not before `ripe_at`, so that what follows gathers on the way; None at the end.

        Raises BadOutput while its messages are read.
        """
        ...

    async def send(self, message: bytes) -> None:
        """Send one message. Raises ProgramExited. A cancelled call leaves the wire unusable."""
        ...

    async def aclose(self) -> None:
        """Close it. Idempotent."""
        ...


async def receive(stream: trio.abc.ReceiveStream | None) -> bytes | bytearray:
    """Return what comes next from a stream; empty at its end."""
    assert stream is not None
    try:
        return await stream.receive_some(READ_BYTES)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


@attrs.define(eq=False)
class Pipes:
    """One line for each message."""

    process: trio.Process
    _lines: LineCutter = attrs.field(factory=lambda: LineCutter(MAX_MESSAGE_BYTES))

    async def receive(self, ripe_at: float = -math.inf) -> Batched | None:
        """Implements `ProgramWire`."""
        output = cast("trio.lowlevel.FdStream", self.process.stdout)
        if ripe_at > -math.inf:
            await wait_gathered(output.fileno(), ripe_at)
        chunk = await receive(output)
        return (self._lines.feed(chunk), len(chunk) >= PIPE_BYTES) if chunk else None

    async def send(self, message: bytes) -> None:
        """Implements `ProgramWire`."""
        assert self.process.stdin is not None
        try:
            await self.process.stdin.send_all(message + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ProgramExited("its input is closed") from None

    async def aclose(self) -> None:
        """Implements `ProgramWire`."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()


@attrs.define(eq=False)
class SocketWire:
    """One frame for each message."""

    stream: trio.SocketStream
    _frames: Frames
    _sending: trio.Lock = attrs.field(factory=trio.Lock)

    async def receive(self, ripe_at: float = -math.inf) -> Batched | None:
        """Implements `ProgramWire`."""
        if self._frames.is_over:
            return None
        for reply in self._take_replies():
            await self._send(reply)
        if ripe_at > -math.inf:
            await wait_gathered(self.stream.socket.fileno(), ripe_at)
        chunk = await receive(self.stream)
        return (self._frames.feed(chunk), len(chunk) >= PIPE_BYTES) if chunk else None

    async def send(self, message: bytes) -> None:
        """Implements `ProgramWire`."""
        await self._send(frame(message))

    async def aclose(self) -> None:
        """Implements `ProgramWire`."""
        await self.stream.aclose()

    def _take_replies(self) -> list[bytes]:
        replies, self._frames.replies = self._frames.replies, []
        return replies

    async def _send(self, data: bytes) -> None:
        try:
            async with self._sending:
                await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ProgramExited("its socket is closed") from None


async def connect(path: str) -> SocketWire:
    """Connect to a program's socket.

    Raises:
        OSError: nobody listens, or the listener does not answer.
        BadOutput: what answers does not speak the protocol.
    """
    stream = await trio.open_unix_socket(path)
    frames = Frames(MAX_MESSAGE_BYTES)
    try:
        with suppress(trio.BrokenResourceError):
            await stream.send_all(UPGRADE)
        while not frames.is_open:  # a server may refuse what comes before its answer
            chunk = await receive(stream)
            if not chunk:
                raise ConnectionResetError("the connection was closed")
            for _ in frames.feed(chunk):
                raise BadOutput("a message before the first call")
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return SocketWire(stream, frames)
