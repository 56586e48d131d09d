"""Limits how fast one connection may send frames of any kind. No I/O, no clock."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["BURST", "FRAMES_PER_S", "STRANGER_BURST", "STRANGER_FRAMES_PER_S", "FrameRate"]

FRAMES_PER_S: Final = 2_000.0
"""The sustained rate. A person sends a few, a client that catches up some dozens, a script that waits for answers
hundreds, one that does not wait a thousand. A frame costs 30 us at least, so this rate takes 6 % of a processor."""

BURST: Final = 10_000
"""The burst after a quiet time: a connection may attach to so many sessions, and does so after a restart."""


STRANGER_FRAMES_PER_S: Final = 1.0
STRANGER_BURST: Final = 8
"""The burst before the sign-in, which needs only one frame."""


@attrs.define(eq=False)
class FrameRate:
    """Returns how long the next frame must wait. No frame is lost and no connection cut: TCP makes the sender wait.

    Attributes:
        per_s: frames, or units of as much work, a second, sustained.
        burst: the same at once, after a quiet time.
        at: the time until which the frames so far use up the rate, in seconds, monotonic.
    """

    per_s: float = attrs.field(factory=lambda: FRAMES_PER_S)
    burst: float = attrs.field(factory=lambda: BURST)
    at: float = -math.inf

    def take(self, now: float, work: int = 1) -> float:
        """Count frames; return the seconds that the last one must wait, mostly 0."""
        self.at = max(self.at, now - self.burst / self.per_s) + work / self.per_s
        return max(0.0, self.at - now)

    def owed(self, now: float) -> float:
        """Return how much of the burst is used up, in units of work."""
        return max(0.0, (self.at - now) * self.per_s + self.burst)
