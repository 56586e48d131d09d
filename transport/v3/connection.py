"""One WebSocket connection of protocol version 3: its sign-in, and its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
import trio

from transport.access.signin import KEYS_UNKNOWN, BadKeyError, TooManyAttemptsError, key_of_first_frame
from transport.ports import Device
from transport.v3 import replies
from transport.v3.client_frames import ClientFrame
from transport.v3.conversation import DeviceConversation
from transport.v3.decode import WireError, decode
from transport.v3.rendered import Renderings
from transport.websocket import close_codes
from transport.websocket.connection import DeviceConnection
from transport.websocket.heartbeat import Heartbeat

__all__ = ["ConnectionV3"]

MAX_BAD_FRAMES: Final = 10
"""Bad frames in a row that close the connection."""


@attrs.define(eq=False, kw_only=True)
class ConnectionV3(DeviceConnection):
    """One connection of version 3.

    Attributes:
        renderings: turns finished answers into HTML.
    """

    heartbeat: Heartbeat
    renderings: Renderings
    _conversation: DeviceConversation | None = None

    async def converse(self, nursery: trio.Nursery) -> None:
        """Sign the device in and take its frames, until the connection closes."""
        device = self.device = await self._sign_in()
        if device is None:
            return
        with DeviceConversation(self.writer, self.config, self.deps, device, self.renderings) as conversation:
            self._conversation = conversation
            self.signed_in()
            conversation.welcome()
            self.heartbeat.join(self.writer)
            try:
                await self._take_frames(conversation)
            finally:
                self._conversation = None

    async def _sign_in(self) -> Device | None:
        """Return the device whose key the head or the first frame has; without one, close."""
        key = self.sign_in.key
        if key is None:
            with trio.move_on_after(self.config.sign_in_s) as waiting:
                key = key_of_first_frame(await self.ws.get_message())
            if waiting.cancelled_caught:
                self.request_close(close_codes.NO_SIGN_IN)
                return None
        if self.deps.nodes is not None and not await self.deps.nodes.knows_keys():
            self.writer.put(replies.error("storage", KEYS_UNKNOWN, self.deps.clock()))
            self.request_close(close_codes.RESTART)
            return None
        return self._enter(key)

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

    async def _take_frames(self, conversation: DeviceConversation) -> None:
        bad_frames = 0
        while (message := await self.next_frame()) is not None:
            frame = self._decoded(message)
            message = None  # a connection that waits keeps no frame: it may be 1 MiB
            if frame is not None:
                bad_frames = 0
                await conversation.follow(frame)
                frame = None
                continue
            bad_frames += 1
            if bad_frames >= MAX_BAD_FRAMES:
                self.request_close(close_codes.PROTOCOL_ERROR)

    def _decoded(self, message: str | bytes) -> ClientFrame | None:
        """Return the frame; None if it is bad, which the device hears."""
        try:
            if isinstance(message, bytes):
                raise WireError("a binary frame")
            return decode(message)
        except WireError as wrong:
            self.writer.put(replies.bad_frame(wrong, self.deps.clock()))
            return None

    def heartbeats(self) -> Sequence[bytes]:
        """Return the texts of a heartbeat."""
        heads = {} if self._conversation is None else self._conversation.heads()
        return replies.heartbeats(heads, self.deps.clock())
