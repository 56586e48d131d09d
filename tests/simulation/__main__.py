"""Run histories by hand: `python -m tests.simulation --seeds 0:10000`, or `--seed 17` with its whole trace."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial

from tests.simulation.history import run_history
from tests.simulation.plan import draw_nodes_plan, draw_plan


def main() -> int:
    """Run what the arguments say; 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", default="0:1000", help="from:to")
    parser.add_argument("--seed", type=int, help="one seed, with its trace")
    parser.add_argument("--nodes", action="store_true", help="every plan has two nodes")
    parser.add_argument("--large", action="store_const", const=True, help="every plan is a large one")
    given = parser.parse_args()
    draw = draw_nodes_plan if given.nodes else partial(draw_plan, large=given.large)
    if given.seed is not None:
        outcome = run_history(draw(given.seed), tracing=True)
        print(outcome.trace)
        print(outcome.plan)
        print("\n".join(outcome.violations) or "all is well")
        return 1 if outcome.violations else 0
    first, last = map(int, given.seeds.split(":"))
    began, wrong = time.monotonic(), 0
    struck: Counter[str] = Counter()
    ticks = 0
    for seed in range(first, last):
        outcome = run_history(draw(seed))
        struck.update(outcome.struck)
        ticks += outcome.ticks
        if outcome.violations:
            wrong += 1
            print(f"seed {seed}: {outcome.violations[:2]}", flush=True)
    took_s = time.monotonic() - began
    count = last - first
    print(f"{count} histories, {wrong} wrong, {count / took_s:.0f} a second, {ticks / count:.0f} ticks each")
    print(f"faults that struck: {dict(struck.most_common())}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
