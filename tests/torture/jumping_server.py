"""`builderos` with a wall clock that jumps: hours and days, forth and back, at any moment.

A wiring of its own: it hands the server another clock in the one place where clocks are made, before anything else
takes it from there. Nothing in the server knows of it. `JUMPS` is the seed.
"""

from __future__ import annotations

import os
import random
import sys

from builderos import ids

DAY_MS = 24 * 60 * 60 * 1000


def jumping(seed: int) -> None:
    """Put a clock in place that stands elsewhere at about every third reading."""
    dice, right = random.Random(seed), ids.wall_clock_ms
    offset_ms = 0

    def wall_clock_ms() -> int:
        nonlocal offset_ms
        if dice.random() < 0.3:
            offset_ms = dice.choice([0, 1, -1]) * dice.randrange(10 * DAY_MS)
        return right() + offset_ms

    ids.wall_clock_ms = wall_clock_ms


if __name__ == "__main__":
    jumping(int(os.environ["JUMPS"]))
    from builderos.cli import main

    sys.exit(main())
