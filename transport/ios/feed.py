"""One session on one app connection: reads the journal by a cursor, and sends frames at the app's pace.

A source of the connection's writer, like an attachment of version 3. It reads on only while little waits to be written,
so a phone that does not read costs no more than `QUEUE_CODE_POINTS`.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable
from typing import Final

import attrs
import trio

from actors.cursor import Cursor
from actors.events.codec import decode_row
from actors.events.conversation import Message, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.pieces import MAX_PIECE_BYTES, fits, split_text
from actors.ports import Catalog, Clock, Journal
from actors.replies import SessionView
from storage.errors import StorageError
from transport.ios import wire
from transport.ios.missed import rest_of, said_by_itself
from transport.ios.output import EARLIER, NOW, End, Missed, Output, Peer, TextOutput, joined
from transport.ios.receipts import ConnectionReceipts
from transport.ios.state import AppState
from transport.ports import AppPairs
from transport.websocket.follower import STORAGE_RETRY_S, SessionFollower
from transport.websocket.frames import text_frame

__all__ = ["AppFeed", "Pace"]

QUEUE_CODE_POINTS: Final = 512 * 1024
"""Code points that may wait to be written before the feed stops reading the journal."""

PAST_EVENTS: Final = 256
"""Recent messages and decisions that are checked for who decided first; older ones are over ten minutes old, or
rare."""

_PAST: Final = frozenset({UserMessage.kind, PermissionRequested.kind, PermissionResolved.kind})

logger = logging.getLogger("builderos.transport")


@attrs.define(eq=False)
class Pace:
    """The least time between two frames that the app draws, over all sessions of a connection.

    The app drops a piece that another one follows too soon, and an end that follows a piece too soon.
    """

    gap_s: float
    free_at: float = -math.inf


@attrs.frozen
class FeedPorts:
    """The parts of the server that a feed uses."""

    journal: Journal
    catalog: Catalog
    pairs: AppPairs
    clock: Clock


@attrs.define(eq=False, kw_only=True)
class AppFeed(SessionFollower):
    """One session on one connection of the app. `label`: the app's own name for itself."""

    label: str
    state: AppState
    ports: FeedPorts
    pace: Pace
    receipts: ConnectionReceipts
    _queue: deque[Output] = attrs.field(factory=deque)
    _queued: int = 0
    _extra: tuple[str, ...] = ()
    _pulling: trio.Lock = attrs.field(factory=trio.Lock)

    async def open(self, view: SessionView) -> None:
        """Follow from the view on. Earlier events are only searched for decisions.

        Raises:
            StorageError: the journal could not be read.
        """
        await self.reach(view)
        journal = self.ports.journal
        rows = await journal.read(
            self.session_id, 0, PAST_EVENTS, before=view.head_seq + 1, kinds=_PAST, newest=True
        )
        self.state.seed(view.pending, map(decode_row, rows))
        self.cursor = Cursor(self.tail, journal, view.head_seq)
        self.start()

    def name_of(self, label: str) -> str | None:
        """Return the name of an attached device for people."""
        return next((device.name for device in self.tail.devices if device.device_id == label), None)

    async def say(self, says: Iterable[Output]) -> None:
        """Queue output after the waiting output."""
        async with self._pulling:
            await self._add(says)
        self.writer.mark_ready(self)

    def send_nowait(self, says: Iterable[Output]) -> None:
        """The same for callers that must not wait. No `Missed`; a count that is not known yet is looked up later."""
        for say in says:
            self._put(say)
        self.writer.mark_ready(self)

    async def catch_up(self) -> None:
        """Read the session's new events, as far as there is room."""
        while self.active and self._may_pull():
            await self._pull()
            if self.failing:
                return

    # ---- the writer's side ----

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`."""
        if self.is_lost:
            await self._lose()
        elif self._may_pull():
            await self._pull()
        frames = await self._frames(now)
        if not frames and not self._queue:
            self._unwritten_at = None  # the app is not shown these events
        return frames

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
        if self._may_pull():
            return now + STORAGE_RETRY_S if self.failing else now
        if not self._queue:
            return math.inf
        return max(now, self.pace.free_at) if _is_paced(self._queue[0]) else now

    def written(self, now: float) -> None:
        """Implements `transport.websocket.writer.RoundSource`. What waits for its pace is not written yet."""
        if not self._queue:
            super().written(now)

    def _may_pull(self) -> bool:
        if self.is_lost:
            return False
        return self._queued < QUEUE_CODE_POINTS and self.cursor.position < self.tail.head_seq

    async def _pull(self) -> None:
        async with self._pulling:
            try:
                taken = await self.cursor.take(trio.current_time())
                if taken.items:
                    self.note_taken(taken.items)
                await self._add(self.state.take(taken.items))
            except StorageError as error:
                self.note_failure(error)
            else:
                self.failing = False

    async def _lose(self) -> None:
        """Report that the session was restored; the next message follows it again."""
        closes = tuple(self.state.own)
        self.close()
        if closes:
            self._put(
                End("The session was restored to another state. Send your message again.", closes=closes)
            )
        await trio.lowlevel.checkpoint()

    async def _add(self, says: Iterable[Output]) -> None:
        for say in says:
            if isinstance(say, Missed):
                try:
                    await self._send_missed(say)
                except StorageError as error:
                    # The missed text stays owed: it is sent with a later answer.
                    self.state.owes_own |= say.owes_own
                    logger.warning("session %s: missed answers cannot be read: %s", self.session_id, error)
            else:
                self._put(say)

    def _put(self, say: Output) -> None:
        if isinstance(say, TextOutput) and not fits(say.content):
            before = say.told - len(say.content)
            for part in split_text(say.content):
                before += len(part)
                self._put(attrs.evolve(say, content=part, told=max(0, before)))
            return
        self._queue.append(say)
        self._queued += _size(say)

    async def _send_missed(self, missed: Missed) -> None:
        """Send the rest of earlier answers first, each under a heading."""
        texts: list[str] = []
        # Taken before the rows: an answer that is settled now may be gone from both by the time they arrive.
        known = set(self.receipts.mine) | self.receipts.all.settled()
        for exchange in await self.ports.pairs.open_exchanges(self.label, self.session_id):
            owed = None if exchange.message_id in known else self.receipts.all.still_owed(exchange)
            if owed is None:
                continue
            before = self.cursor.position + 1
            rest = await rest_of(self.ports.journal, self.session_id, owed, before)
            if rest is None:
                continue
            self.receipts.adopt(owed)
            self._extra += (rest.message_id,)
            if rest.text:
                texts.append(rest.text)
        if missed.owes_own:
            where, before = (self.session_id, self.label), self.cursor.position + 1
            texts += await said_by_itself(self.ports.journal, *where, missed.message_id, before)
        if texts:
            self._put(TextOutput(EARLIER + "\n\n".join(texts) + NOW))

    # ---- frames ----

    async def _frames(self, now: float) -> bytes:
        frames: list[bytes] = []
        while self._queue:
            paced = _is_paced(self._queue[0])
            if paced and now < self.pace.free_at:
                break
            say = self._next()
            frames.append(text_frame(await self._encode(say)))
            if paced:
                self.pace.free_at = now + self.pace.gap_s
        return b"".join(frames)

    def _next(self) -> Output:
        """Take the next output, joined with all after it that may share its frame."""
        say = self._queue.popleft()
        self._queued -= _size(say)
        while self._queue:
            both = joined(say, self._queue[0])
            if both is None or not _may_join(both):
                break
            self._queued -= _size(self._queue.popleft())
            say = both
        return say

    async def _encode(self, say: Output) -> bytes:
        now_ms = self.ports.clock()
        if isinstance(say, TextOutput):
            if say.message_id is not None:
                self.receipts.wrote(say.message_id, say.told)
            if say.request_id is not None:
                self.state.seen.show(self.session_id, say.request_id)
            return wire.message(say.content, now_ms)
        if isinstance(say, Peer):
            return wire.peer(say.kind, self.session_id, self._epoch, say.item)
        assert isinstance(say, End)
        if say.closes:
            self.receipts.ended((*say.closes, *self._extra))
            self._extra = ()
        if say.error is not None:
            return wire.error(say.error, now_ms, say.code)
        count = say.message_count if say.message_count is not None else await self._message_count()
        return wire.complete(count, say.usage, now_ms)

    async def _message_count(self) -> int:
        try:
            record = await self.ports.catalog.get(self.session_id)
        except StorageError as error:
            logger.warning("session %s: its message count cannot be read: %s", self.session_id, error)
            return 0
        return 0 if record is None or record.summary is None else record.summary.message_count


def _is_paced(say: Output) -> bool:
    return not (isinstance(say, Peer) and say.kind == "peer_user_message")


def _size(say: Output) -> int:
    if isinstance(say, TextOutput):
        return len(say.content)
    event = say.item.event if isinstance(say, Peer) else None
    return len(event.content) if isinstance(event, Message) else 1


def _may_join(say: Output) -> bool:
    content = say.content if isinstance(say, TextOutput) else ""
    if isinstance(say, Peer) and isinstance(say.item.event, Message):
        content = say.item.event.content
    return fits(content, MAX_PIECE_BYTES)
