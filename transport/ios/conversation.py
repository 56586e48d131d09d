"""Handles the texts of the iOS app on one signed-in connection. The app has no ids, no acknowledgement and no commands:
a text is a message or the answer to a request, and `AppState` decides which.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import attrs
import trio

from actors.commands import Attach, Author, Decide, Envelope, Warm
from actors.commands import Send as SendCommand
from actors.events.conversation import Attachment as File
from actors.events.pieces import fits
from actors.events.session import Settings
from actors.replies import Rejected, Reply, SessionView
from actors.tail import AttachedDevice
from storage.errors import StorageError
from storage.tables.app_exchanges import OpenExchange
from transport.access.auth import DECIDE_MORE, authorize
from transport.config import TransportConfig
from transport.ios.feed import AppFeed, FeedPorts, Pace
from transport.ios.receipts import ConnectionReceipts, Receipt
from transport.ios.resume import PAIR_MS, is_own_pair
from transport.ios.state import AppState, Decision, LastRequest, SendText
from transport.ios.wire import DEFAULT_DEVICE, ChatFrame
from transport.ios.wire import error as error_frame
from transport.ports import AppPorts, Deps, Device
from transport.sessions import (
    FAILURES,
    NO_ANSWER,
    SessionRefused,
    ask,
    attachments_of,
    failure_of,
    find_or_create,
)
from transport.websocket.writer import DeviceWriter

__all__ = ["AppConversation"]

MAX_FEEDS: Final = 64
"""Sessions that one connection follows. The app uses one for each tab, and a tab has a connection of its own."""

EXCHANGE_MS: Final = 30 * 24 * 3600 * 1000
"""How long an answer that the app did not fetch is kept for it."""

logger = logging.getLogger("builderos.transport")


def _no_answer(reply: Reply) -> None:
    pass


@attrs.define(eq=False)
class AppConversation:
    """The state of one connection. `key` is the key of the sign-in; None if the app reconnected without one."""

    writer: DeviceWriter
    config: TransportConfig
    deps: Deps
    ports: AppPorts
    device: Device
    agent: str
    key: str | None = attrs.field(repr=False)
    pace: Pace
    receipts: ConnectionReceipts
    seen: LastRequest = attrs.field(factory=LastRequest)
    _feeds: dict[tuple[str, str], AppFeed] = attrs.field(factory=dict)

    async def leave(self, *, orderly: bool) -> None:
        """Stop following all sessions, and store how much was sent."""
        self.deps.attention.leave(self)
        for feed in self._feeds.values():
            feed.close()
            feed.record.leave(self.writer)
        self._feeds.clear()
        left = self.receipts.leave(orderly=orderly)
        if left:
            await self.note(left)

    async def note(self, receipts: Sequence[Receipt]) -> None:
        """Store how much of these answers the app has seen."""
        exchanges = [
            OpenExchange(receipt.message_id, receipt.known) for receipt in receipts if not receipt.settled
        ]
        closed = [receipt.message_id for receipt in receipts if receipt.settled]
        try:
            await self.ports.pairs.settle(exchanges, closed)
        except StorageError as failed:
            logger.warning("cannot store what the app has seen: %s", failed)
        self.receipts.forget(receipts)

    async def follow(self, frame: ChatFrame) -> None:
        """Do what a text asks for. A failure becomes an `error` that ends the exchange."""
        try:
            await self._follow(frame)
        except SessionRefused as refused:
            self._send_error(str(refused), refused.code)
        except FAILURES as error:
            failure = failure_of(error, "iOS app")
            self._send_error(failure.text, failure.code)

    async def warm(self) -> None:
        """Have the agent's program started in the session that this app used last, if its key is known.

        The app says nothing before its first message, so that session is a guess.
        """
        deps = self.deps
        if self.key is None or not authorize(self.device.scope, "warm"):
            await trio.lowlevel.checkpoint()
            return
        # The message meets the same failure, and its answer says so.
        with trio.move_on_after(self.config.submit_s), suppress(*FAILURES):
            for session_id in await self.ports.pairs.newest(self.key, since_ms=deps.clock() - PAIR_MS):
                record = await deps.catalog.get(session_id)
                if record is not None and record.agent_type == self.agent:
                    author = Author(self.device.id, self.device.id, self.device.name)
                    await deps.bus.submit(session_id, Envelope(Warm(), author, _no_answer))
                    return

    def _send_error(self, content: str, code: str | None) -> None:
        self.writer.put(error_frame(content, self.deps.clock(), code))

    async def _follow(self, frame: ChatFrame) -> None:
        if frame.fault is not None:
            raise SessionRefused("bad_frame", frame.fault)
        if not authorize(self.device.scope, "decide"):
            raise SessionRefused("forbidden", "This key may only watch.")
        if not fits(frame.content):
            raise SessionRefused("too_large", "The message is over 256 KiB.")
        session_id = self.deps.aliases.session(frame.session_id or f"default-{self.agent}-session")
        device_id = self.deps.aliases.device(frame.device_id or DEFAULT_DEVICE)
        feed = await self._feed(session_id, device_id)
        await feed.catch_up()
        meant = feed.state.read(frame.content, self.deps.clock())
        if isinstance(meant, SendText):
            await self._send(feed, frame)
        elif isinstance(meant, Decision):
            await self._decide(feed, meant)
        else:
            await feed.say(meant)

    # ---- following a session ----

    async def _feed(self, session_id: str, device_id: str) -> AppFeed:
        known = self._feeds.get((session_id, device_id))
        if known is not None and known.active and not known.is_lost:
            return known
        if known is None and len(self._feeds) >= MAX_FEEDS:
            raise SessionRefused("forbidden", "This connection follows too many sessions.")
        feed = await self._open_feed(session_id, device_id)
        self._feeds[session_id, device_id] = feed
        return feed

    async def _open_feed(self, session_id: str, device_id: str) -> AppFeed:
        # A label that another key used first stays that key's; the app still gets in.
        is_ours = await self.deps.devices.claim_label(device_id, self.device.id)
        label = device_id if is_ours else self.device.id
        await find_or_create(
            self.deps,
            self.config,
            self.device,
            session_id,
            agent=self.agent,
            label=label,
            settings=self._new_settings,
        )
        view = await self._view(session_id, label)
        deps = self.deps
        record = deps.delays.of(self.device.id, self.device.name, label)
        feed = AppFeed(
            session_id=session_id,
            own=AttachedDevice(label, self.device.name, observe=False),
            record=record,
            clock=deps.clock,
            writer=self.writer,
            label=device_id,
            state=AppState(session_id, label, self.seen),
            ports=FeedPorts(deps.journal, deps.catalog, self.ports.pairs, deps.clock),
            pace=self.pace,
            receipts=self.receipts,
        )
        feed.state.name_of = partial(self._name_of, feed)
        try:
            feed.listen(deps.live.listen(session_id, feed))
            await feed.open(view)
        except BaseException:
            feed.close()
            raise
        record.enter(self.writer)
        return feed

    def _name_of(self, feed: AppFeed, label: str) -> str:
        """Return the name of the decider for people: a label that the device chose, else its name."""
        device = self.ports.keys.get(label)
        return label if device is None else device.name

    async def _view(self, session_id: str, label: str) -> SessionView:
        author, limit_s = Author(self.device.id, label, self.device.name), self.config.attach_s
        answer = await ask(self.deps.bus, session_id, Attach(), author, limit_s=limit_s)
        if isinstance(answer, SessionView):
            return answer
        if isinstance(answer, Rejected):
            raise SessionRefused(answer.code, answer.content)
        raise SessionRefused("storage", NO_ANSWER)

    async def _new_settings(self) -> Settings:
        await trio.lowlevel.checkpoint()
        return Settings(self.config.workspace)

    # ---- messages ----

    async def _send(self, feed: AppFeed, frame: ChatFrame) -> None:
        if not authorize(self.device.scope, "send"):
            raise SessionRefused("forbidden", "This key may not send messages.")
        files = await self._files(feed.session_id, frame)
        message_id = self.ports.new_id()
        session_id, now_ms = feed.session_id, self.deps.clock()
        pairs, device_id = self.ports.pairs, feed.label
        if self.key is not None and is_own_pair(frame):
            await pairs.use(device_id, session_id, self.key, now_ms=now_ms, keep_ms=PAIR_MS)
        await pairs.open(device_id, session_id, message_id, now_ms=now_ms, keep_ms=EXCHANGE_MS)
        receipt = self.receipts.open(message_id)
        feed.state.expect(message_id)
        label = feed.own.device_id
        command = SendCommand(message_id, frame.content, files)
        author = Author(self.device.id, label, self.device.name)
        envelope = Envelope(command, author, partial(self._on_sent, feed, message_id))
        if self.writer.closing is not None:
            return  # its key was revoked meanwhile
        self.deps.attention.act(self, self.device.id, label, session_id)
        failed: Exception | None = None
        with trio.move_on_after(self.config.submit_s) as taking:  # noqa: ASYNC912 - submit is one
            try:
                await self.deps.bus.submit(session_id, envelope)
            except FAILURES as error:
                failed = error
        if failed is not None:
            feed.state.own.pop(message_id, None)
            receipt.settled = True
            await self.note([receipt])
            raise failed
        if taking.cancelled_caught:
            busy = "The session accepts no messages at the moment. Try again."
            feed.send_nowait(feed.state.refused(message_id, busy, "storage"))

    def _on_sent(self, feed: AppFeed, message_id: str, reply: Reply) -> None:
        if isinstance(reply, Rejected):
            feed.send_nowait(feed.state.refused(message_id, reply.content, reply.code))

    async def _files(self, session_id: str, frame: ChatFrame) -> tuple[File, ...]:
        found = await attachments_of(self.deps.uploads, session_id, frame.urls)
        if found is None:
            raise SessionRefused("bad_attachment", "An attachment is not an upload of this server.")
        return found

    # ---- decisions ----

    async def _decide(self, feed: AppFeed, meant: Decision) -> None:
        author = Author(self.device.id, feed.own.device_id, self.device.name)
        command = Decide(meant.request_id, meant.decision, drives=authorize(self.device.scope, DECIDE_MORE))
        envelope = Envelope(command, author, partial(self._on_decided, feed, meant.request_id))
        if self.writer.closing is not None:
            return  # its key was revoked meanwhile
        self.deps.attention.act(self, self.device.id, feed.own.device_id, feed.session_id)
        try:
            with trio.move_on_after(self.config.submit_s) as taking:
                await self.deps.bus.submit(feed.session_id, envelope)
        except FAILURES:
            feed.state.decision_refused(meant.request_id, "")
            raise
        if taking.cancelled_caught:
            busy = "The session accepts no decisions at the moment. Try again."
            feed.send_nowait(feed.state.decision_refused(meant.request_id, busy))

    def _on_decided(self, feed: AppFeed, request_id: str, reply: Reply) -> None:
        """Only a refusal gets here: an accepted decision shows as its event."""
        if not isinstance(reply, Rejected):
            return
        if reply.code == "already_resolved":
            outputs = feed.state.too_late(request_id, reply.by_device, self.deps.clock())
        else:
            outputs = feed.state.decision_refused(request_id, reply.content)
        feed.send_nowait(outputs)
