"""One WebSocket connection of protocol version 3, from its handshake to its close.

Three tasks: trio-websocket's reader; ours (`run` itself), which takes one frame after another and never writes; and the
writer. To end the connection, call `request_close`: the writer flushes and sends the close frame, and the other tasks
are cancelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio
import trio_websocket

from transport.config import TransportConfig
from transport.ports import Deps, Device
from transport.signin import BadKeyError, SignIn, TooManyAttemptsError, key_of_first_frame
from transport.streams import FrameStream
from transport.v3 import replies
from transport.v3.conversation import Conversation
from transport.v3.decode import WireError, decode
from transport.v3.rendered import Renderings
from transport.websocket import close_codes
from transport.websocket.close_codes import CloseCode
from transport.websocket.heartbeat import Heartbeat
from transport.websocket.writer import DeviceWriter

__all__ = ["ConnectionV3"]

MAX_BAD_FRAMES: Final = 10
"""Bad frames in a row that close the connection."""

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class ConnectionV3:
    """One connection. Lives for one `run`.

    Attributes:
        renderings: turns finished answers into HTML; None if that is disabled.
        on_signed_in: called once, when the device may stay.
        sign_in: the client's address, and the key of its head.
        device: the device of the key, once that is known.
    """

    ws: trio_websocket.WebSocketConnection
    stream: FrameStream
    config: TransportConfig
    deps: Deps
    pulse: Heartbeat
    on_signed_in: Callable[[], None]
    sign_in: SignIn
    device: Device | None = None
    renderings: Renderings | None = None
    writer: DeviceWriter = attrs.field(init=False)
    _conversation: Conversation | None = None
    _scope: trio.CancelScope | None = None

    def __attrs_post_init__(self) -> None:
        self.writer = DeviceWriter(self.stream, self._heartbeats)

    def request_close(self, code: CloseCode) -> None:
        """Write all pending frames, then the close frame, then end `run`. Never blocks."""
        self.writer.close(code)
        if self._scope is not None:
            # A device that accepts nothing, or does not answer our close frame, is cut.
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + self.config.close_s)

    async def run(self, nursery: trio.Nursery) -> None:
        """Serve until either side closes; then `nursery` is cancelled.

        Args:
            nursery: the connection's own, in which trio-websocket's reader runs already.
        """
        self._scope = nursery.cancel_scope
        nursery.start_soon(self._write)
        try:
            await self._converse()
        except trio_websocket.ConnectionClosed:
            return
        # The writer still has to send the close frame; it cancels the scope afterwards.
        await trio.sleep_forever()

    async def _converse(self) -> None:
        key = self.sign_in.key
        if key is None:
            with trio.move_on_after(self.config.sign_in_s) as waiting:
                key = key_of_first_frame(await self.ws.get_message())
            if waiting.cancelled_caught:
                self.request_close(close_codes.NO_SIGN_IN)
                return
        device = self._enter(key)
        if device is None:
            return
        self.device = device
        with Conversation(self.writer, self.config, self.deps, device, self.renderings) as conversation:
            self._conversation = conversation
            self.on_signed_in()
            conversation.welcome()
            self.pulse.join(self.writer)
            try:
                await self._take_frames(conversation)
            finally:
                self._conversation = None

    def _enter(self, key: str | None) -> Device | None:
        """Return the device of this key; if it is not valid, send an error and close."""
        code = close_codes.BAD_KEY
        try:
            if key is not None:
                return self.sign_in.enter(key)
        except BadKeyError:
            pass
        except TooManyAttemptsError:
            code = close_codes.TOO_MANY_TRIES
        self.writer.put(replies.error("unauthorized", "The key is not valid.", self.deps.clock()))
        self.request_close(code)
        return None

    async def _take_frames(self, conversation: Conversation) -> None:
        bad_frames = 0
        while True:
            await self.writer.wait_room()
            message = await self.ws.get_message()
            if self.writer.closing is not None:
                return
            try:
                if isinstance(message, bytes):
                    raise WireError("a binary frame")
                frame = decode(message)
            except WireError as wrong:
                bad_frames += 1
                self.writer.put(replies.bad_frame(wrong, self.deps.clock()))
                if bad_frames >= MAX_BAD_FRAMES:
                    self.request_close(close_codes.PROTOCOL_ERROR)
                continue
            bad_frames = 0
            await conversation.follow(frame)

    async def _write(self) -> None:
        try:
            await self.writer.run()
            code = self.writer.closing
            if code is not None:
                with trio.move_on_after(self.config.close_s):
                    await self.ws.aclose(code.code, code.reason)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            if self.stream.timed_out:
                slow, name = close_codes.TOO_SLOW, self.device.id if self.device else "unknown"
                logger.info("device %s: connection cut (%d): %s", name, slow.code, slow.reason)
        if self._scope is not None:
            self._scope.cancel(reason="the writer has ended")

    def _heartbeats(self) -> Sequence[bytes]:
        heads = {} if self._conversation is None else self._conversation.heads()
        return replies.heartbeats(heads, self.deps.clock())
