"""Streams between a socket and its protocol: one returns the head that was already read, and one lies below
trio-websocket and lets us write ready-made frames beside it.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

import trio
import trio_websocket

from transport.websocket import close_codes
from transport.websocket.close_codes import CloseCode
from transport.websocket.frames import close_frame, is_close
from transport.websocket.reader import FrameReader

__all__ = ["FrameStream", "PutBackStream", "Transport", "WriteTimedOut"]

Transport = trio.SocketStream | trio.SSLStream[trio.SocketStream]

WRITE_SLICE_BYTES: Final = 64 * 1024
"""The write limit starts again after each such slice: a slow connection that still moves is not dead."""


REFUSE_S: Final = 1.0
"""How long the close frame of a refusal may take to be written; after that the peer only sees the end."""

_FAULTS: Final = {code.code: code for code in (close_codes.BAD_FRAME, close_codes.BAD_TEXT)}
"""The close codes for errors that wsproto finds in a frame."""


class WriteTimedOut(trio.BrokenResourceError):
    """The socket accepted nothing within the write limit; the stream is closed."""


class PutBackStream(trio.abc.Stream):
    """A stream with some bytes put back in front of what it receives."""

    def __init__(self, stream: trio.abc.Stream, ahead: bytes) -> None:
        self.inner = stream
        self._ahead = ahead

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the bytes that were put back, then what the stream receives."""
        if not self._ahead:
            return await self.inner.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        size = len(self._ahead) if max_bytes is None else max_bytes
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Implements `trio.abc.SendStream`."""
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Implements `trio.abc.SendStream`."""
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Implements `trio.abc.AsyncResource`."""
        await self.inner.aclose()


class FrameStream(PutBackStream):
    """The stream that trio-websocket and this server write on: only whole frames, one writer at a time.

    trio-websocket passes each frame to `send_all` in one piece. After its close frame, `send_frames` writes nothing
    more, since a data frame after it would break the protocol.

    Bytes that follow the upgrade request directly are held back until the answer is written: before that,
    trio-websocket would take them for a part of the request and drop them.

    `send_frames_nowait` may leave a rest of a frame. It is written before anything else.

    A write that is cancelled or times out may have written half a frame, so it closes the stream forcefully.

    If a peer's frames are refused, it gets our close frame, and the stream stays open for the listener to drain:
    closing a socket with unread input destroys data that is still in flight.

    Attributes:
        write_s: how long the socket may refuse all data.
        reader: reads the peer's frames, at its own pace.
        ws: the WebSocket connection, once there is one.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        head: bytes,
        behind: bytes,
        write_s: float,
        reader: FrameReader | None = None,
    ) -> None:
        super().__init__(stream, behind)
        self.write_s = write_s
        self.reader = FrameReader() if reader is None else reader
        self.ws: trio_websocket.WebSocketConnection | None = None
        self._head = head
        self._answered: trio.Event | None = trio.Event()
        self.timed_out = False
        self._writing = False
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._closing = False
        self._rest = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Return the upgrade request's head, and after its answer the following bytes."""
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        if self._answered is not None:
            await self._answered.wait()
        if self._fault() is not None:
            raise trio.ClosedResourceError("trio-websocket has closed this stream")
        # The bare stream's own: a connection waits here for nearly all its life, and each call more costs memory.
        data = await self.reader.read(super().receive_some if self._ahead else self.inner.receive_some)
        if not data and self.reader.incoming.refused is not None:
            await self._refuse(self.reader.incoming.refused)
        return data

    async def aclose(self) -> None:
        """Close the stream, unless it has unread input: then the listener closes it."""
        if self.reader.incoming.ended or self._fault() is not None:
            await trio.lowlevel.checkpoint()
        else:
            await super().aclose()

    async def finish(self) -> None:
        """Send the close frame for an error that wsproto found; call it after the conversation.

        trio-websocket itself only closes the stream then.
        """
        fault = self._fault()
        if fault is not None:
            await self._refuse(fault)

    def _fault(self) -> CloseCode | None:
        closed = None if self.ws is None else self.ws.closed
        return None if closed is None or self._closing else _FAULTS.get(closed.code)

    async def _refuse(self, code: CloseCode) -> None:
        # Shielded: the end of this connection cancels it, and only this sends the close frame.
        with (
            trio.move_on_after(REFUSE_S, shield=True),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),
        ):
            await self.send_all(close_frame(code.code, code.reason))

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Write the bytes of trio-websocket: a handshake or one whole control frame.

        Raises:
            BrokenResourceError: the peer is gone.
            WriteTimedOut: it accepted nothing for `write_s`.
        """
        await self._begin_write()
        try:
            if is_close(data):
                self._closing = True
                self.reader.close()
            await self._write_rest()
            await self._write(data)
        finally:
            self._end_write()
        if self._answered is not None:
            self._answered.set()
            self._answered = None

    async def send_frames(self, frames: bytes) -> bool:
        """Write whole frames; False, and nothing written, if the close frame was sent already.

        Not a checkpoint if the socket accepts all of it at once.

        Raises:
            BrokenResourceError, ClosedResourceError, WriteTimedOut: as in `send_all`.
        """
        await self._begin_write()
        try:
            if self._closing:
                return False
            await self._write_rest()
            taken = self._write_nowait(frames)
            if taken < len(frames):
                await self._write(memoryview(frames)[taken:])
            return True
        finally:
            self._end_write()

    async def _begin_write(self) -> None:
        """Wait until nobody else writes; `_end_write` must follow. Not a checkpoint if nobody does.

        `trio.Lock` would take a turn of the event loop, and a third of a KiB of each idle connection.
        """
        if self._writing:
            self._waiting = self._waiting or trio.lowlevel.ParkingLot()
            await self._waiting.park()
        self._writing = True

    def _end_write(self) -> None:
        # The next one writes from here on, although it runs later: nobody comes between.
        self._writing = bool(self._waiting and self._waiting.unpark())

    @property
    def can_send_now(self) -> bool:
        """Whether nobody writes, and nothing has to be written first."""
        return not (self._closing or self._rest or self._writing)

    @property
    def has_rest(self) -> bool:
        """Whether the next write takes a rest along."""
        return bool(self._rest)

    def send_frames_nowait(self, frames: bytes) -> bool:
        """Write whole frames if `can_send_now`; False if a rest is left, which the next write of any kind takes along.

        If the device is gone, that write raises.
        """
        try:
            taken = self._write_nowait(frames)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            taken = 0
        self._rest = frames[taken:]
        return not self._rest

    async def _write_rest(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._write(rest)

    def unsent_bytes(self) -> int:
        """Return the bytes of a rest, and those that the system holds because the device has not received them.

        The latter are 0 if the system does not say so.
        """
        raw = self.inner.transport_stream if isinstance(self.inner, trio.SSLStream) else self.inner
        if not isinstance(raw, trio.SocketStream) or raw.socket.fileno() < 0:
            return len(self._rest)
        try:
            return len(self._rest) + int.from_bytes(
                ioctl(raw.socket.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder
            )
        except OSError:  # only Linux answers this for a socket
            return len(self._rest)

    def _write_nowait(self, frames: bytes) -> int:
        """Write as much as a bare socket accepts at once; return how much that was."""
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
            raise WriteTimedOut(f"the socket accepted nothing for {self.write_s:.0f} s")
