"""Decides when a hub's events are acknowledged on one link. Pure: the time is passed in.

Committed pieces are acknowledged together, so that at a person's pace the hub and this side need not wake once more for
each: after `ACK_S`, `ACK_EVENTS` or `ACK_LENGTH`, whatever comes first. That is far below the 1 MiB that a hub keeps
without an answer. Anything but a piece is acknowledged at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import attrs

from bridgehub.protocol.events import TextPiece
from bridgehub.protocol.messages import Ack, Reported

__all__ = ["ACK_EVENTS", "ACK_LENGTH", "ACK_S", "AckPacer"]

ACK_S = 0.05
ACK_EVENTS = 32
ACK_LENGTH = 64 * 1024
"""Code points of text."""


@attrs.define(eq=False)
class AckPacer:
    """The acknowledgements of one link.

    Attributes:
        due_at: when the next one is due; infinity if there is none.
    """

    due_at: float = math.inf
    _committed: int = 0
    _sent: int = 0
    _urgent: deque[int] = attrs.field(factory=deque)
    """Of the events that came, those whose acknowledgement does not wait."""
    _length: int = 0

    def received(self, batch: Sequence[Reported]) -> None:
        """Note the last event of a batch, if any, whose acknowledgement must not wait."""
        urgent = 0
        for reported in batch:
            if isinstance(reported.event, TextPiece):
                self._length += len(reported.event.text)
                if self._length < ACK_LENGTH:
                    continue
            self._length = 0
            urgent = reported.seq
        if urgent:
            self._urgent.append(urgent)

    def committed(self, seq: int, now: float) -> bool:
        """Note that all up to `seq` is committed; return whether `due_at` has moved."""
        if seq <= self._committed:
            return False
        self._committed = seq
        if seq - self._sent >= ACK_EVENTS or (self._urgent and self._urgent[0] <= seq):
            self.due_at = -math.inf
            return True
        if self.due_at == math.inf:
            self.due_at = now + ACK_S
            return True
        return False

    def take(self) -> Ack:
        """Return the acknowledgement of all that is committed; only the newest is sent."""
        self._sent, self.due_at = self._committed, math.inf
        while self._urgent and self._urgent[0] <= self._committed:
            self._urgent.popleft()
        return Ack(self._committed)
