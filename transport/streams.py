"""The streams between a socket and whoever speaks on it: one that gives back what was read of the head, and
one below trio-websocket that lets us write ready-made frames beside it.
"""

from __future__ import annotations

import os
from typing import Final

import trio

from transport.websocket.frames import is_close

__all__ = ["FrameStream", "PutBackStream", "Transport", "WriteTimedOut"]

Transport = trio.SocketStream | trio.SSLStream[trio.SocketStream]

WRITE_SLICE_BYTES: Final = 64 * 1024
"""The write limit counts anew after each such slice: a slow line that moves at all is not a dead one."""


class WriteTimedOut(trio.BrokenResourceError):
    """The socket took nothing for the write limit; the stream is closed."""


class PutBackStream(trio.abc.Stream):
    """A stream with some bytes put back in front of what it receives."""

    def __init__(self, stream: trio.abc.Stream, ahead: bytes) -> None:
        self.inner = stream
        self._ahead = ahead

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return what was put back, then what the stream receives."""
        if not self._ahead:
            return await self.inner.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._ahead) if max_bytes is None else max_bytes
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        await self.inner.aclose()


class FrameStream(PutBackStream):
    """What trio-websocket writes on, and we too: only whole frames, one writer at a time.

    trio-websocket gives each frame to `send_all` in one piece. Once its close frame has passed,
    `send_frames` writes nothing more, since a data frame after it would break the protocol.

    What came right behind the upgrade request is held back until the answer is out: before that,
    trio-websocket would take it for a part of the request and look at it no more.

    A write that is cancelled or times out may have left half a frame on the line, so it closes the stream
    forcefully.

    Attributes:
        write_s: how long the socket may refuse to take anything.
    """

    def __init__(self, stream: trio.abc.Stream, head: bytes, behind: bytes, write_s: float) -> None:
        super().__init__(stream, behind)
        self.write_s = write_s
        self._head = head
        self._answered: trio.Event | None = trio.Event()
        self.timed_out = False
        self._lock = trio.Lock()
        self._closing = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the upgrade request's head, and after its answer what follows."""
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        if self._answered is not None:
            await self._answered.wait()
        return await super().receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write what trio-websocket has to say: a handshake or one whole control frame.

        Raises:
            BrokenResourceError: the other side is gone.
            WriteTimedOut: it took nothing for `write_s`.
        """
        async with self._lock:
            if is_close(data):
                self._closing = True
            await self._write(data)
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    async def send_frames(self, frames: bytes) -> bool:
        """Write whole frames; False, and nothing written, where the close frame has gone already.

        No checkpoint where the socket takes all of it at once.

        Raises:
            BrokenResourceError, ClosedResourceError, WriteTimedOut: as in `send_all`.
        """
        # Most writes wait neither for the lock nor for the socket: each spares a turn of the loop.
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self._closing:
                return False
            taken = self._write_nowait(frames)
            if taken < len(frames):
                await self._write(memoryview(frames)[taken:])
            return True
        finally:
            self._lock.release()

    def _write_nowait(self, frames: bytes) -> int:
        """Write what a bare socket takes at once; return how much that was."""
        if not isinstance(self.inner, trio.SocketStream):
            return 0
        fd = self.inner.socket.fileno()
        if fd < 0:
            raise trio.ClosedResourceError("this stream was closed")
        try:
            return os.write(fd, frames)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError("the device is gone") from error

    async def _write(self, data: bytes | bytearray | memoryview) -> None:
        whole = False
        try:
            if len(data) <= WRITE_SLICE_BYTES:
                await self._write_slice(data)
            else:
                view = memoryview(data)
                for start in range(0, len(view), WRITE_SLICE_BYTES):
                    await self._write_slice(view[start : start + WRITE_SLICE_BYTES])
            whole = True
        finally:
            if not whole:
                self._closing = True
                await trio.aclose_forcefully(self.inner)

    async def _write_slice(self, data: bytes | bytearray | memoryview) -> None:
        with trio.move_on_after(self.write_s) as scope:
            await self.inner.send_all(data)
        if scope.cancelled_caught:
            self.timed_out = True
            raise WriteTimedOut(f"the socket took nothing for {self.write_s:.0f} s")
