"""A device's place in a session's journal. Live stream, replay, a slow device and a late joiner are this one loop."""

from __future__ import annotations

import math

import attrs

from actors.events.codec import decode_row
from actors.events.conversation import Message
from actors.events.pieces import join_pieces
from actors.ports import Journal
from actors.tail import EventBatch, Tail

__all__ = ["Cursor"]

PAGE_ROWS = 256
"""Rows that a lagging cursor reads from the journal at once."""


@attrs.define(eq=False)
class Cursor:
    """One reader's position. Take rounds in a loop; wait for the tail's wake, or until `due`, between them.

    Attributes:
        position: the last seq that was taken.
        pace_s: least time between two rounds that hold `message` (PROTOCOL section 3, `pace_ms`); 0 is none.
    """

    tail: Tail
    journal: Journal
    position: int
    pace_s: float = 0.0
    _free_at: float = -math.inf
    _round_until: int = 0
    """The head as the present round of a paced reader began: up to there nothing is held."""

    def due(self, now: float) -> float:
        """Return when `take` may give something: `now` or before, a later moment, or infinity at the head."""
        if self.position >= self.tail.head_seq:
            return math.inf
        if not self._holds(now):
            return now
        first = self.tail.read_nowait(self.position)
        if first is not None and not isinstance(first.items[0].event, Message):
            return now
        return self._free_at

    async def take(self, now: float) -> EventBatch:
        """Return what follows the position, within its bounds, and move there; empty if nothing is due.

        A cancelled take moves nothing.

        Raises:
            StorageError: the journal could not be read.
        """
        whole = self.tail.read_nowait(self.position)
        if whole is None:
            whole = await self._page()
        taken = self._paced(whole, now)
        if taken.items:
            self.position = taken.items[-1].seq
        return taken

    def take_nowait(self) -> EventBatch | None:
        """Return all that follows the position and move to the head, if the tail has it; None, and no move, otherwise.

        Only for a reader without a pace.
        """
        whole = self.tail.read_nowait(self.position)
        if whole is None or not whole.items or whole.items[-1].seq < self.tail.head_seq:
            return None
        self.position = whole.items[-1].seq
        return whole

    async def _page(self) -> EventBatch:
        tail = self.tail
        # Not past the tail's head: what is committed but not published yet may not be seen before its answer.
        before = tail.head_seq + 1
        rows = await self.journal.read(tail.session_id, self.position, PAGE_ROWS, before=before)
        if not rows and self.position < tail.head_seq:
            # The end of a tail that follows another node may be inside a row by now: pieces were folded since.
            rows = [
                row
                for row in await self.journal.read(tail.session_id, self.position, 1)
                if row.first_seq < before
            ]
        return EventBatch(tail.session_id, tail.epoch, tuple(join_pieces(map(decode_row, rows))))

    def _paced(self, whole: EventBatch, now: float) -> EventBatch:
        if self.pace_s <= 0:
            return whole
        first = next((i for i, item in enumerate(whole.items) if isinstance(item.event, Message)), None)
        if first is None:
            return whole
        if self._holds(now):
            return EventBatch(whole.session_id, whole.epoch, whole.items[:first])
        if self.position >= self._round_until:
            self._round_until = self.tail.head_seq
            self._free_at = now + self.pace_s
        return whole

    def _holds(self, now: float) -> bool:
        """Tell whether pieces must wait: the last round is over, its time is not, and nothing is urgent."""
        over = self.position >= self._round_until
        return over and now < self._free_at and self.tail.urgent_seq <= self.position
