"""How many connections there may be, of which kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

__all__ = ["Gate"]


@attrs.define(eq=False)
class Gate:
    """A count with a bound. Whoever is over it is still counted in `refused`, for the statistics."""

    bound: int
    used: int = 0
    refused: int = 0

    @contextmanager
    def enter(self) -> Iterator[Pass]:
        """Give a pass, good or not, for the block; a good one may be given back before its end."""
        good = self.used < self.bound
        if good:
            self.used += 1
        else:
            self.refused += 1
        given = Pass(self, good)
        try:
            yield given
        finally:
            given.give_back()


@attrs.define(eq=False)
class Pass:
    """One place below a gate's bound.

    Attributes:
        good: False where there was no place.
    """

    _gate: Gate
    good: bool
    _held: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._held = self.good

    def give_back(self) -> None:
        """Make room. Idempotent."""
        if self._held:
            self._held = False
            self._gate.used -= 1
