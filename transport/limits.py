"""How many connections there may be, of which kind."""

from __future__ import annotations

import attrs

__all__ = ["Gate"]


@attrs.define(eq=False)
class Gate:
    """A count with a bound.

    Attributes:
        bound: how many may be inside.
        used: how many are.
        refused: how many were turned away since the start.
    """

    bound: int
    used: int = 0
    refused: int = 0

    def enter(self) -> bool:
        """Go in, where there is room. Whoever gets True must `leave` once."""
        if self.used >= self.bound:
            self.refused += 1
            return False
        self.used += 1
        return True

    def leave(self) -> None:
        """Make room."""
        self.used -= 1
