"""One WebSocket of a device, whatever its protocol, from its handshake to its close.

Two tasks: trio-websocket's reader, and ours (`run` itself), which takes one frame after another and never writes. The
writer has a third one while there is something to write. To end the connection, call `request_close`: the writer
flushes and sends the close frame, and the other tasks are cancelled.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import attrs
import trio
import trio_websocket

from transport.access.signin import SignIn
from transport.config import TransportConfig
from transport.limits import GuestPlace
from transport.ports import Deps, Device
from transport.streams import FrameStream
from transport.websocket import close_codes
from transport.websocket.close_codes import CloseCode
from transport.websocket.writer import DeviceWriter

__all__ = ["DeviceConnection", "lighten"]

logger = logging.getLogger("builderos.transport")


class _HandshakeDone:
    """In the place of a connection's handshake, which holds 3 KiB of a parser and headers for the connection's life."""

    def events(self) -> tuple[()]:
        """Return none: wsproto asks before each frame."""
        return ()


class _ShortQueue(list[Any]):
    """In the place of a deque that holds one thing at most: an empty deque takes 760 bytes."""

    __slots__ = ()

    def popleft(self) -> Any:
        """Return and remove what came first."""
        return self.pop(0)


_HANDSHAKE_DONE: Final = _HandshakeDone()

_PAST: Final = trio.Event()
_PAST.set()


def lighten(ws: trio_websocket.WebSocketConnection) -> None:
    """Take from an open connection what trio-websocket and wsproto keep for its life and need only to open it: 5 KiB.

    Idle connections are many. `tests/transport/websocket/test_connection.py` fails if a new version looks otherwise.
    """
    wsproto: Any = ws._wsproto
    wsproto.handshake = _HANDSHAKE_DONE
    wsproto.connection._events = _ShortQueue(wsproto.connection._events)
    received: Any = ws._recv_channel._state
    received.data = _ShortQueue(received.data)
    # Waited for by `accept` alone, which is done; and by tests of trio-websocket.
    ws._open_handshake = ws._for_testing_peer_closed_connection = _PAST


@attrs.define(eq=False, kw_only=True)
class DeviceConnection(ABC):
    """One connection. Lives for one `run`. A protocol defines `converse`.

    Attributes:
        sign_in: the client's address, and the key of its head.
        place: its place among those that have not signed in; None if it needs none.
        device: the device of the key, once that is known.
    """

    ws: trio_websocket.WebSocketConnection
    stream: FrameStream
    config: TransportConfig
    deps: Deps
    sign_in: SignIn
    place: GuestPlace | None
    device: Device | None = None
    writer: DeviceWriter = attrs.field(init=False)
    _nursery: trio.Nursery | None = None

    def __attrs_post_init__(self) -> None:
        self.writer = DeviceWriter(self.stream, self)

    @abstractmethod
    async def converse(self, nursery: trio.Nursery) -> None:
        """Sign the device in and take its frames, until the connection closes; the writer still writes afterwards.

        Raises:
            ConnectionClosed: either side closed.
        """

    def heartbeats(self) -> Sequence[bytes]:
        """Return the texts of a heartbeat; none by default."""
        return ()

    def signed_in(self) -> None:
        """Note that the device may stay: it gives its place back, and is read at a device's rate. Never blocks."""
        if self.place is not None:
            self.place.leave()
        self.stream.reader.trust()

    def request_close(self, code: CloseCode) -> None:
        """Write all pending frames, then the close frame, then end `run`. Never blocks."""
        self.writer.close(code)
        if self._nursery is not None:
            # A device that accepts nothing, or does not answer our close frame, is cut.
            scope = self._nursery.cancel_scope
            scope.deadline = min(scope.deadline, trio.current_time() + self.config.close_s)

    async def run(self, nursery: trio.Nursery) -> None:
        """Serve until either side closes; then `nursery` is cancelled.

        Args:
            nursery: the connection's own, in which trio-websocket's reader runs already.
        """
        self._nursery = nursery
        self.start_writing()
        try:
            await self.converse(nursery)
            # The writer still has to send the close frame; it cancels the scope afterwards.
            await trio.sleep_forever()
        except trio_websocket.ConnectionClosed:
            return
        finally:
            self.writer.ended = True

    def start_writing(self) -> None:
        """Implements `transport.websocket.writer.WriterOwner`."""
        assert self._nursery is not None
        self._nursery.start_soon(self._write, name="device writer")

    async def next_frame(self) -> str | bytes | None:
        """Return the device's next frame, once there is room for its answer; None if we close the connection."""
        await self.writer.wait_room()
        message = await self.ws.get_message()
        return None if self.writer.closing is not None else message

    async def _write(self) -> None:
        try:
            if await self.writer.run() == "rests":
                return
            code = self.writer.closing
            if code is not None:
                with trio.move_on_after(self.config.close_s):
                    await self.ws.aclose(code.code, code.reason)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.stream.timed_out:
                slow, name = close_codes.TOO_SLOW, self.device.id if self.device else "unknown"
                logger.info("device %s: connection cut (%d): %s", name, slow.code, slow.reason)
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason="the writer has ended")
