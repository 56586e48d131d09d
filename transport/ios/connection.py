"""One WebSocket connection of the iOS app, from its handshake to its close (PROTOCOL section 4, rules 1-3, 7-9).

One more task than `DeviceConnection` has: it measures by ping how much has arrived. No timer ends an idle connection.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs
import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from storage.errors import StorageError
from transport.access.attempts import Attempts
from transport.access.signin import BadKeyError, TooManyAttemptsError
from transport.ios.conversation import AppConversation
from transport.ios.feed import Pace
from transport.ios.receipts import ConnectionReceipts, Receipts
from transport.ios.resume import Resumption
from transport.ios.wire import AUTHENTICATED, INVALID_KEY, ChatFrame, ConfigFrame, decode_app, ready
from transport.ports import AppPorts
from transport.websocket import close_codes
from transport.websocket.connection import DeviceConnection
from transport.websocket.frames import text_frame
from transport.websocket.writer import DeviceWriter

__all__ = ["AppConnection", "AppShared"]

CLAUDE_GAP_S: Final = 0.26
"""Time between two drawn frames on the Claude path: 250 ms, plus the error of the app's timer."""

READY_AFTER_CONFIG_S: Final = 0.115
"""The app drops a `ready` that arrives before the next tick of its 100 ms poll."""

READY_WITHOUT_CONFIG_S: Final = 0.4

LEAVE_S: Final = 2.0
"""How long storing the receipts may take when a connection ends. If it fails, a few words are sent twice."""

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class AppShared:
    """The state that all connections of the app share."""

    receipts: Receipts = attrs.field(factory=Receipts)
    tries: Attempts = attrs.field(factory=Attempts)


@attrs.define(eq=False)
class ReadySource:
    """Sends `ready` at the right time, as a source of the writer."""

    writer: DeviceWriter
    clock: Callable[[], int]
    active: bool = True
    _at: float = math.inf
    _by_config: bool = False

    def signed_in(self, now: float) -> None:
        """Start the wait: no config has arrived yet, and maybe none will."""
        self._set(now + READY_WITHOUT_CONFIG_S)

    def config(self, now: float) -> None:
        """Handle a config. If a `ready` is already on its way, it also answers this one."""
        if not self._by_config:
            self._by_config = True
            self._set(now + READY_AFTER_CONFIG_S)

    def _set(self, at: float) -> None:
        self._at = at
        self.writer.mark_ready(self)

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`."""
        await trio.lowlevel.checkpoint()
        if now < self._at:
            return b""
        self._at, self._by_config = math.inf, False
        return text_frame(ready(self.clock()))

    def written(self, now: float) -> None:
        """Implements `transport.websocket.writer.RoundSource`."""

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
        return self._at


@attrs.define(eq=False, kw_only=True)
class AppConnection(DeviceConnection):
    """One connection of the app.

    Attributes:
        agent: the path's agent, for sessions that the app starts.
    """

    ports: AppPorts
    shared: AppShared
    agent: str
    _ready: ReadySource = attrs.field(init=False)
    _wrote: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._ready = ReadySource(self.writer, self.deps.clock)

    async def converse(self, nursery: trio.Nursery) -> None:
        """Sign the app in and take its texts, until the connection closes."""
        first: str | bytes | None = None
        with trio.move_on_after(self.config.app_sign_in_s):
            first = await self.ws.get_message()
        if first is None:
            self.request_close(close_codes.APP_NO_SIGN_IN)
            return
        if self.deps.nodes is not None and not await self.deps.nodes.knows_keys():
            self.request_close(close_codes.RESTART)
            return
        frame, key = await self._sign_in(first)
        device = self.device
        if device is None:
            self.writer.put(INVALID_KEY)
            self.request_close(close_codes.APP_BAD_KEY)
            return
        self.signed_in()
        receipts = ConnectionReceipts(self.shared.receipts, self._note_written)
        self.writer.on_sent = receipts.sent
        pace = Pace(CLAUDE_GAP_S if self.agent == "claude" else 0.0)
        conversation = AppConversation(
            self.writer, self.config, self.deps, self.ports, device, self.agent, key, pace, receipts
        )
        self._authenticated()
        self._ready.signed_in(trio.current_time())
        orderly = False
        try:
            nursery.start_soon(self._ask_what_arrived, conversation, receipts)
            if frame is not None:
                await conversation.follow(frame)
            await self._take_frames(conversation)
        except trio_websocket.ConnectionClosed:
            orderly = not self.stream.timed_out
            raise
        finally:
            with trio.move_on_after(LEAVE_S, shield=True):
                await conversation.leave(orderly=orderly)

    async def _sign_in(self, first: str | bytes) -> tuple[ChatFrame | None, str | None]:
        """Set `device`; return the message that the first frame was, or the key."""
        if isinstance(first, bytes):
            return None, None
        frame = decode_app(first)
        if not isinstance(frame, ChatFrame):
            with suppress(BadKeyError, TooManyAttemptsError):
                self.device = self.sign_in.enter(first)
            return None, first
        tries, clock = self.shared.tries, self.deps.clock
        enabled = self.config.app_resume_without_key
        resumption = Resumption(self.ports, self.deps.aliases, clock, tries, enabled)
        try:
            self.device = await resumption.device(frame, self.sign_in.address, trio.current_time())
        except StorageError as failed:
            logger.warning("resume without a key is unavailable: %s", failed)
        self.sign_in.returned(self.device)
        return frame, None

    def _authenticated(self) -> None:
        self.writer.put(AUTHENTICATED)

    async def _take_frames(self, conversation: AppConversation) -> None:
        while (message := await self.next_frame()) is not None:
            frame = decode_app(message)
            if isinstance(frame, ChatFrame):
                await conversation.follow(frame)
            elif isinstance(frame, ConfigFrame):
                self._ready.config(trio.current_time())
                await conversation.warm()
            elif isinstance(message, str) and self._is_own_key(message):
                self._authenticated()
            message = frame = None  # a connection that waits keeps no text: it may be 1 MiB

    def _is_own_key(self, message: str) -> bool:
        found = self.deps.devices.find(message)
        return found is not None and self.device is not None and found.id == self.device.id

    def _note_written(self) -> None:
        self._wrote.set()

    async def _ask_what_arrived(self, conversation: AppConversation, receipts: ConnectionReceipts) -> None:
        """Send a ping after each write, one at a time; its pong shows that all earlier frames arrived."""
        try:
            while True:
                await self._wrote.wait()
                self._wrote = trio.Event()
                mark = receipts.mark()
                await self.ws.ping()
                done = receipts.arrived(mark)
                if done:
                    await conversation.note(done)
        except (trio_websocket.ConnectionClosed, LocalProtocolError, trio.BrokenResourceError):
            return
        except trio.ClosedResourceError:
            return
