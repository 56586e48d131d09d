"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random

import attrs

__all__ = ["Backoff"]

FIRST_S = 0.1
LAST_S = 5.0


@attrs.define(eq=False)
class Backoff:
    """Waits that double from 0.1 s to 5 s. Each is shortened by up to half at random, so that devices do not reconnect
    together.
    """

    chance: random.Random
    _next_s: float = FIRST_S

    def next_s(self) -> float:
        """Return how long to wait now, in seconds."""
        wait = self._next_s
        self._next_s = min(LAST_S, wait * 2)
        return wait * (1 - self.chance.random() / 2)

    def reset(self) -> None:
        """Reset after a success: the next wait is short again."""
        self._next_s = FIRST_S
