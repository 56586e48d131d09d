"""Traps: what may be killed, and at which step of a turn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import attrs

__all__ = ["STEPS", "VICTIMS", "Trap", "Victim", "roll_trap"]

Victim = Literal["server", "hub", "agent", "gateway", "database"]
"""What may be killed; with several nodes `server` is the home of the session and `gateway` the others."""

STEPS = (
    "accepted",
    "user_message",
    "d:queued",
    "turn_started",
    "d:handed",
    "d:consumed",
    "message",
    "message",
    "permission_requested",
    "permission_resolved",
    "task_started",
    "task_finished",
    "d:answered",
    "d:unknown",
    "complete",
    "error",
    "interrupted",
)
"""What a trap may wait for: each step of a turn as a device sees it."""

_OF_ONE: tuple[Victim, ...] = ("server", "hub", "agent")
VICTIMS = tuple(frozenset(some) for count in (1, 2, 3) for some in combinations(_OF_ONE, count))


@attrs.define
class Trap:
    """Strikes at the `count`th event of `step`, or after `patience` events of any kind.

    Attributes:
        lingers: a node that was killed stays away until a person hears of it.
    """

    step: str
    count: int
    victims: frozenset[Victim]
    patience: int = 400
    lingers: bool = False


def roll_trap(dice: random.Random, victims: Sequence[frozenset[Victim]] = VICTIMS) -> Trap:
    """Return a trap: any step, any of `victims`."""
    return Trap(
        dice.choice(STEPS),
        dice.randint(1, 5),
        dice.choice(victims),
        patience=150,
        lingers=dice.random() < 0.3,
    )
