"""How fast one connection may send frames. No I/O, no clock."""

from __future__ import annotations

import math
from typing import Final

import attrs

__all__ = ["BURST", "FRAMES_PER_S", "FrameRate"]

FRAMES_PER_S: Final = 2_000.0
"""For good. A person sends a few, a client that catches up some dozens, a script that waits for answers hundreds, one
that does not wait a thousand. A frame costs 30 us at least, so that these are 6 % of a processor."""

BURST: Final = 10_000
"""At once, by who was quiet before: a connection may attach to so many sessions, and does so after a restart."""


@attrs.define(eq=False)
class FrameRate:
    """Tells how long the next frame has to wait. Nothing is lost and nobody is cut: TCP tells the sender to wait.

    Attributes:
        at: until when what came so far is paid for, in seconds, monotonic.
    """

    at: float = -math.inf

    def take(self, now: float) -> float:
        """Count a frame; return the seconds that it has to wait, mostly 0."""
        self.at = max(self.at, now - BURST / FRAMES_PER_S) + 1 / FRAMES_PER_S
        return max(0.0, self.at - now)
