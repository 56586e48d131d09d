"""One device's attachment to one session: its starting point, and the events that it then gets.

`starting_point` decides where a device starts (PROTOCOL section 3, "Attach"); it is pure except for its reads of the
journal. The first batch is taken before `attached` is written, so that its `from_seq` and `replay` are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol

import attrs
import trio

from actors.cursor import Cursor
from actors.ports import Journal
from actors.replies import SessionView
from actors.tail import AttachedDevice, EventBatch, Presence, SessionProblem, Tail, TransientUpdate
from storage.errors import StorageError
from transport.v3 import replies
from transport.v3.client_frames import Position
from transport.v3.events import encode_round
from transport.v3.rendered import RenderedFeed
from transport.websocket.follower import STORAGE_RETRY_S, SessionFollower
from transport.websocket.frames import text_frame
from transport.websocket.writer import DeviceWriter

__all__ = ["AttachedConnection", "DeviceAttachment", "starting_point"]


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


WRITTEN_AT_ONCE: Final = 8
"""With more listeners than this each is written by its own task: a session's commit must not hold up the loop."""


class AttachedConnection(Protocol):
    """The interface of an attachment's connection."""

    @property
    def writer(self) -> DeviceWriter:
        """The writer that reads its attachments."""
        ...

    def lost(self, attachment: DeviceAttachment) -> None:
        """Handle that the session's past changed: the device must attach again."""
        ...


@attrs.define(eq=False, kw_only=True)
class DeviceAttachment(SessionFollower):
    """One session on one connection of version 3.

    Attributes:
        replaced: another attachment of the same connection takes its place: it is not shown, and shows no others.
        rendered: its finished answers as HTML; None if it did not ask for them.
    """

    connection: AttachedConnection
    on_taken: Callable[[str, int], None]
    replaced: bool = False
    rendered: RenderedFeed | None = None
    _news_version: int = 0
    _held: bool = False

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
        return self.tail.epoch, self.tail.head_seq

    def listen(self, listening: AbstractContextManager[Tail]) -> None:
        """Listen to the session's tail from now on; what it had posted before is not sent."""
        super().listen(listening)
        self._news_version = self.tail.news_version

    async def open(self, journal: Journal, view: SessionView, position: int, pace_s: float) -> EventBatch:
        """Take the first batch from `position` on. A cancelled `open` must be followed by `close`.

        Raises:
            StorageError: the journal could not be read.
        """
        await self.reach(view)
        self.cursor = Cursor(self.tail, journal, position, pace_s)
        return await self.cursor.take(trio.current_time())

    def trouble(self) -> bytes:
        """Return the frames about a problem that the session has already."""
        return self._frames([item for item in self.tail.news_since(0) if isinstance(item, SessionProblem)])

    def start(self) -> None:
        """Allow the writer to ask from now on."""
        super().start()
        if self.rendered is not None:
            self.rendered.start()

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self.rendered is not None:
            self.rendered.close()
        super().close()

    def stays_held(self) -> bool:
        """Return whether new events wait behind a held piece anyway: then there is nothing to send yet."""
        if not self._held:
            return False
        same_news = self.tail.news_version == self._news_version
        return same_news and self.tail.urgent_seq <= self.cursor.position

    async def take(self, now: float) -> bytes:
        """Implements `transport.websocket.writer.RoundSource`."""
        if self.is_lost:
            self.connection.lost(self)
            return b""
        frames = self._take_news()
        if self.cursor.position >= self.tail.head_seq:
            return frames
        try:
            taken = await self.cursor.take(now)
        except StorageError as error:
            return frames + self._storage_failed(error)
        self.failing = False
        if taken.items:
            self._note_batch(taken)
        return frames + encode_round(taken) if frames else encode_round(taken)

    def _note_batch(self, taken: EventBatch) -> None:
        self.on_taken(self.session_id, taken.items[-1].seq)
        self.note_taken(taken.items)
        if self.rendered is not None:
            self.rendered.note(taken.items)

    def take_nowait(self) -> bytes | None:
        """Return events that the tail has, for a device without a pace; None, and nothing taken, if there is more to do."""
        tail, cursor = self.tail, self.cursor
        is_plain = cursor.pace_s <= 0 and not self.failing and not self.is_lost
        if not is_plain or tail.news_version != self._news_version or tail.listener_count > WRITTEN_AT_ONCE:
            return None
        taken = cursor.take_nowait()
        if taken is None:
            return None
        self._note_batch(taken)
        return encode_round(taken)

    def due(self, now: float) -> float:
        """Implements `transport.websocket.writer.RoundSource`."""
        if self.failing:
            return now + STORAGE_RETRY_S
        if self.tail.news_version != self._news_version:
            return now
        due = self.cursor.due(now)
        self._held = now < due < math.inf
        return due

    def _take_news(self) -> bytes:
        if self.tail.news_version == self._news_version:
            return b""
        items = self.tail.news_since(self._news_version)
        self._news_version = self.tail.news_version
        if self.replaced:
            items = [item for item in items if not isinstance(item, Presence)]
        return self._frames(items)

    def _frames(self, items: Sequence[TransientUpdate]) -> bytes:
        label, now_ms = self.own.device_id, self.clock()
        texts = [replies.news(self.session_id, item, label, now_ms) for item in items]
        return b"".join(text_frame(text) for text in texts if text is not None)

    def _storage_failed(self, error: StorageError) -> bytes:
        if not self.note_failure(error):
            return b""
        text = "The session cannot be read at the moment. The server tries again."
        return text_frame(replies.error("storage", text, self.clock(), self.session_id))
