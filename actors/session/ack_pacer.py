"""Decides when a hub's events are acknowledged on one link. Pure: the time is passed in.

Committed pieces are acknowledged together, so that at a person's pace the hub and this side need not wake once more for
each: after `ACK_S`, `ACK_EVENTS` or `ACK_LENGTH`, whatever comes first. That is far below the 1 MiB that a hub keeps
without an answer. Anything but a piece is acknowledged at once.

An acknowledgement also says how long the hub should let pieces gather. A moment that was waited for and came late shows
that the machine has more to do than it can: then larger pieces cost it less. All sessions of a server share what theirs
have shown, so that each learns it with its next acknowledgement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from bridgehub.protocol.events import TextPiece
from bridgehub.protocol.messages import Ack, Reported

__all__ = ["ACK_EVENTS", "ACK_LENGTH", "ACK_S", "GATHER_MOST_S", "LATE_S", "AckPacer", "Lateness"]

ACK_S = 1.0
ACK_EVENTS = 128
ACK_LENGTH = 64 * 1024
"""Code points of text."""

LATE_S = 0.002
"""Acknowledgements that are late by less than this mean nothing: an idle machine has such moments too."""

GATHER_MOST_S = 0.012
"""Far below what a person notices, and as much as a frame of a screen."""

_WEIGHT = 0.5
"""Of the newest lateness, against all before it."""


@attrs.define(eq=False)
class Lateness:
    """How late the moments come that sessions wait for.

    Attributes:
        forced_gather_ms: what hubs are asked for however busy the machine is; None: by its lateness. For tests.
    """

    forced_gather_ms: int | None = None
    _late_s: float = 0.0

    def note(self, late_s: float) -> None:
        """Take in by how much a moment came late. A long stop counts like a short one, so it is soon forgotten."""
        self._late_s += _WEIGHT * (min(late_s, GATHER_MOST_S) - self._late_s)

    @property
    def gather_ms(self) -> int:
        """How long hubs should let pieces gather."""
        if self.forced_gather_ms is not None:
            return self.forced_gather_ms
        return round(1000 * min(2 * self._late_s, GATHER_MOST_S)) if self._late_s >= LATE_S else 0


@attrs.define(eq=False)
class AckPacer:
    """The acknowledgements of one link.

    Attributes:
        lateness: of all sessions.
        due_at: when the next one is due; infinity if there is none.
    """

    lateness: Lateness
    due_at: float = math.inf
    _committed: int = 0
    _sent: int = 0
    _urgent: list[int] = attrs.field(factory=list)
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

    def take(self, now: float) -> Ack:
        """Return the acknowledgement of all that is committed; only the newest is sent."""
        if math.isfinite(self.due_at):
            self.lateness.note(now - self.due_at)
        self._sent, self.due_at = self._committed, math.inf
        while self._urgent and self._urgent[0] <= self._committed:
            del self._urgent[0]
        return Ack(self._committed, self.lateness.gather_ms)
