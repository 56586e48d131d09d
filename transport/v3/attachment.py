"""One device's attachment to one session: its starting point, and the events that it then gets.

`starting_point` decides where a device starts (PROTOCOL section 3, "Attach"); it is pure except for its reads of the
journal. The first batch is taken before `attached` is written, so that its `from_seq` and `replay` are exact.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol

import attrs
import trio

from actors.commands import SessionView
from actors.cursor import Cursor
from actors.ports import Clock, Journal
from actors.tail import AttachedDevice, EventBatch, Presence, SessionProblem, Tail, TransientUpdate
from storage.errors import StorageError
from transport.v3 import replies
from transport.v3.client_frames import Position
from transport.v3.events import encode_round
from transport.v3.rendered import RenderedFeed
from transport.websocket.frames import text_frame
from transport.websocket.writer import DeviceWriter

__all__ = ["Attachment", "FollowsAttachments", "starting_point"]

STORAGE_RETRY_S: Final = 2.0
"""Pause after a failed read; the session's next event makes it try again at once."""

CATCH_UP_S: Final = 2.0
"""How long the tail may take to catch up with the answer of the session's owner."""

logger = logging.getLogger("builderos.transport")


async def starting_point(
    journal: Journal, session_id: str, view: SessionView, after: Position | None, history: int
) -> tuple[int, Literal["ok", "snapshot"]]:
    """Return the position to read on from, at most the view's head, and the kind of replay.

    Raises:
        StorageError: the journal could not be read.
    """
    if after is not None and after.epoch == view.epoch and 0 <= after.seq <= view.head_seq:
        return after.seq, "ok"
    if history == 0 or view.head_seq == 0:
        return view.head_seq, "snapshot"
    first = await journal.first_seq_of_turns(session_id, history)
    return min(first - 1, view.head_seq), "snapshot"


class FollowsAttachments(Protocol):
    """The interface of an attachment's connection."""

    @property
    def writer(self) -> DeviceWriter:
        """The writer that it wakes if it has something to send."""
        ...

    def lost(self, attachment: Attachment) -> None:
        """Handle that the session's past changed: the device must attach again."""
        ...


@attrs.define(eq=False)
class Attachment:
    """A listener of the session's tail and a source of the connection's writer.

    Use: create it, `open` it with the session's view, and `close` it.

    Attributes:
        own: the device that listens.
        active: whether the writer may ask.
        replaced: another attachment of the same connection takes its place: it is not shown, and shows no others.
        rendered: its finished answers as HTML; None if it did not ask for them.
    """

    session_id: str
    own: AttachedDevice
    connection: FollowsAttachments
    clock: Clock
    on_taken: Callable[[str, int], None]
    active: bool = False
    replaced: bool = False
    rendered: RenderedFeed | None = None
    _tail: Tail | None = None
    _cursor: Cursor | None = None
    _listening: AbstractContextManager[Tail] | None = None
    _news_version: int = 0
    _epoch: int = 0
    _held: bool = False
    _failing: bool = False
    _changed: trio.Event | None = None

    @property
    def device(self) -> AttachedDevice | None:
        """Implements `actors.tail.Listener`."""
        return None if self.replaced else self.own

    @property
    def observes(self) -> bool:
        """Whether it only observes."""
        return self.own.observe

    @property
    def head(self) -> tuple[int, int]:
        """The session's (epoch, head_seq) as this server knows it."""
        assert self._tail is not None
        return self._tail.epoch, self._tail.head_seq

    @property
    def lag(self) -> int:
        """Positions that the device is behind the session's head."""
        if self._tail is None or self._cursor is None:
            return 0
        return max(self._tail.head_seq - self._cursor.position, 0)

    @property
    def devices(self) -> tuple[AttachedDevice, ...]:
        """The attached devices, this one included."""
        assert self._tail is not None
        return self._tail.devices

    def listen(self, listening: AbstractContextManager[Tail]) -> None:
        """Listen to the session's tail from now on."""
        self._tail = listening.__enter__()
        self._listening = listening
        self._news_version = self._tail.news_version

    async def open(self, journal: Journal, view: SessionView, position: int, pace_s: float) -> EventBatch:
        """Take the first batch from `position` on. A cancelled `open` must be followed by `close`.

        Raises:
            StorageError: the journal could not be read.
        """
        assert self._tail is not None
        await self._reach(view)
        self._epoch = view.epoch
        self._cursor = Cursor(self._tail, journal, position, pace_s)
        return await self._cursor.take(trio.current_time())

    async def _reach(self, view: SessionView) -> None:
        """Wait until the tail has what the view shows: the owner answers before it publishes."""
        assert self._tail is not None
        with trio.move_on_after(CATCH_UP_S):  # noqa: ASYNC912 - waits, or has nothing to wait for
            while self._tail.epoch == view.epoch and self._tail.head_seq < view.head_seq:
                self._changed = trio.Event()
                await self._changed.wait()
        self._changed = None

    def trouble(self) -> bytes:
        """Return the frames about a problem that the session has already."""
        assert self._tail is not None
        return self._frames([item for item in self._tail.news_since(0) if isinstance(item, SessionProblem)])

    def start(self) -> None:
        """Allow the writer to ask from now on."""
        self.active = True
        self.connection.writer.mark_ready(self)
        if self.rendered is not None:
            self.rendered.start()

    def close(self) -> None:
        """Stop listening. Idempotent."""
        self.active = False
        if self.rendered is not None:
            self.rendered.close()
        listening, self._listening = self._listening, None
        if listening is not None:
            self.connection.writer.forget(self)
            listening.__exit__(None, None, None)

    def wake(self) -> None:
        """Implements `actors.tail.Listener`."""
        if self._changed is not None:
            self._changed.set()
        if self.active and not (self._held and self._stays_held()):
            self.connection.writer.mark_ready(self)

    def _stays_held(self) -> bool:
        """Whether new events wait behind a held piece anyway: then there is nothing to send yet."""
        assert self._tail is not None
        assert self._cursor is not None
        same_news = self._tail.news_version == self._news_version
        return same_news and self._tail.urgent_seq <= self._cursor.position

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.Source`."""
        assert self._tail is not None
        assert self._cursor is not None
        if self._tail.epoch != self._epoch:
            self.connection.lost(self)
            return b""
        frames = self._take_news()
        if self._cursor.position >= self._tail.head_seq:
            return frames
        try:
            taken = await self._cursor.take(now)
        except StorageError as error:
            return frames + self._storage_failed(error)
        self._failing = False
        if taken.items:
            self.on_taken(self.session_id, taken.items[-1].seq)
            if self.rendered is not None:
                self.rendered.note(taken.items)
        return frames + encode_round(taken) if frames else encode_round(taken)

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.Source`."""
        assert self._tail is not None
        assert self._cursor is not None
        if self._failing:
            return now + STORAGE_RETRY_S
        if self._tail.news_version != self._news_version:
            return now
        due = self._cursor.due(now)
        self._held = now < due < math.inf
        return due

    def _take_news(self) -> bytes:
        assert self._tail is not None
        if self._tail.news_version == self._news_version:
            return b""
        items = self._tail.news_since(self._news_version)
        self._news_version = self._tail.news_version
        if self.replaced:
            items = [item for item in items if not isinstance(item, Presence)]
        return self._frames(items)

    def _frames(self, items: Sequence[TransientUpdate]) -> bytes:
        label, now_ms = self.own.device_id, self.clock()
        texts = [replies.news(self.session_id, item, label, now_ms) for item in items]
        return b"".join(text_frame(text) for text in texts if text is not None)

    def _storage_failed(self, error: StorageError) -> bytes:
        if self._failing:
            return b""
        self._failing = True
        logger.warning(
            "session %s: cannot be read for device %s: %s", self.session_id, self.own.device_id, error
        )
        text = "The session cannot be read at the moment. The server tries again."
        return text_frame(replies.error("storage", text, self.clock(), self.session_id))
