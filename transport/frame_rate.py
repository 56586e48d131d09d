"""How fast one connection may send frames, of every kind. No I/O, no clock."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["BURST", "FRAMES_PER_S", "STRANGER_BURST", "STRANGER_FRAMES_PER_S", "FrameRate"]

FRAMES_PER_S: Final = 2_000.0
"""For good. A person sends a few, a client that catches up some dozens, a script that waits for answers hundreds, one
that does not wait a thousand. A frame costs 30 us at least, so that these are 6 % of a processor."""

BURST: Final = 10_000
"""At once, by who was quiet before: a connection may attach to so many sessions, and does so after a restart."""


STRANGER_FRAMES_PER_S: Final = 1.0
STRANGER_BURST: Final = 8
"""The same before the sign-in, for which one frame is enough."""


@attrs.define(eq=False)
class FrameRate:
    """Tells how long the next frame has to wait. Nothing is lost and nobody is cut: TCP tells the sender to wait.

    Attributes:
        per_s: frames, or units of as much work, a second for good.
        burst: the same at once, after a quiet time.
        at: until when what came so far is paid for, in seconds, monotonic.
    """

    per_s: float = attrs.field(factory=lambda: FRAMES_PER_S)
    burst: float = attrs.field(factory=lambda: BURST)
    at: float = -math.inf

    def take(self, now: float, work: int = 1) -> float:
        """Count frames; return the seconds that the last one has to wait, mostly 0."""
        self.at = max(self.at, now - self.burst / self.per_s) + work / self.per_s
        return max(0.0, self.at - now)

    def owed(self, now: float) -> float:
        """Return how much of the burst is used up, in units of work."""
        return max(0.0, (self.at - now) * self.per_s + self.burst)
