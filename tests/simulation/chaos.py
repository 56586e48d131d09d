"""What all parts of one history share: its plan, its chance, its notes, and what was seen to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import trio

from tests.simulation.plan import Fault, FaultKind, Plan

__all__ = ["START_MS", "Chaos"]

START_MS = 1_700_000_000_000

MOST_TICKS = 50_000
"""Uses of a seam in one history; a large one has a few hundred."""


@attrs.define(eq=False)
class Chaos:
    """The chance and the faults of one history.

    Attributes:
        chance: for what the plan leaves open; drawn from in the order of the run, so the same each time.
        sockets: the chance of how much a socket takes at once.
        strike: does what a fault of that kind does.
        healed: no fault strikes any more.
        scope: the whole run, for one that does not end.
    """

    plan: Plan
    tracing: bool = False
    chance: Random = attrs.field(init=False)
    sockets: Random = attrs.field(init=False)
    violations: list[str] = attrs.field(factory=list)
    trace: list[str] = attrs.field(factory=list)
    struck: list[FaultKind] = attrs.field(factory=list)
    strike: Callable[[Fault], None] = lambda fault: None
    healed: bool = False
    clock_ahead_ms: int = 0
    ticks: int = 0
    ids: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _due: dict[int, list[Fault]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.chance = Random(f"run {self.plan.seed}")
        self.sockets = Random(f"sockets {self.plan.seed}")
        for fault in self.plan.faults:
            if fault.at_tick:
                self._due.setdefault(fault.at_tick, []).append(fault)

    def tick(self) -> None:
        """Count one use of a seam, and let strike what is due at it."""
        self.ticks += 1
        if self.ticks > MOST_TICKS:
            self.complain("it goes on without end")
            self.scope.cancel()
        due = self._due.get(self.ticks)
        if due is not None and not self.healed:
            for fault in due:
                self.strike(fault)

    def note(self, text: str) -> None:
        """Put a line into the trace, where one is wanted."""
        if self.tracing:
            self.trace.append(f"{trio.current_time():9.4f} {text}")

    def complain(self, text: str) -> None:
        """Note that something is wrong that must never be."""
        if text not in self.violations:
            self.violations.append(text)
            self.note(f"VIOLATION {text}")

    def now_ms(self) -> int:
        """Return the wall clock, which jumps when a plan says so."""
        return START_MS + int(trio.current_time() * 1000) + self.clock_ahead_ms

    def new_id(self) -> str:
        """Return the next id."""
        self.ids += 1
        return f"i{self.ids}"

    def delay(self, most_s: float) -> float:
        """Return some seconds up to `most_s`; none once all is healed."""
        return self.chance.uniform(0.0, most_s) if most_s and not self.healed else 0.0
