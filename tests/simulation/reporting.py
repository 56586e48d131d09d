"""Runs many seeds, and says of one that went wrong all that is needed to look into it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tests.simulation.history import Outcome, run_history
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.shrinking import shrink

__all__ = ["HISTORIES", "check_seeds", "chunks", "first_wrong", "report"]

HISTORIES = int(os.environ.get("HISTORIES", "5000"))
"""How many seeds the tests run, all parts together; more of them for a long run."""

CHUNK = 125
"""Seeds of one test: about a second."""


def chunks() -> list[range]:
    """Return the seeds in neighbouring chunks, one for each test."""
    return [range(start, min(start + CHUNK, HISTORIES)) for start in range(0, HISTORIES, CHUNK)]


def first_wrong(seeds: Iterable[int], *, large: bool | None = None) -> Outcome | None:
    """Return the outcome of the first seed that goes wrong."""
    for seed in seeds:
        outcome = run_history(draw_plan(seed, large=large))
        if outcome.violations:
            return outcome
    return None


def check_seeds(seeds: Iterable[int]) -> None:
    """Fail with the whole story of the first seed that goes wrong."""
    wrong = first_wrong(seeds)
    assert wrong is None, report(wrong)


def report(wrong: Outcome, *, shrinking: bool = True) -> str:
    """Return what went wrong, the plan, a smaller one, and how to see it again."""
    lines = [
        f"seed {wrong.plan.seed} goes wrong:",
        *wrong.violations[:5],
        f"see it: python -m tests.simulation --seed {wrong.plan.seed}",
        f"the plan: {wrong.plan!r}",
    ]
    if shrinking:
        small = shrink(wrong.plan, _is_wrong)
        lines += [f"a smaller one: {small!r}", *run_history(small).violations[:5]]
    return "\n".join(lines)


def _is_wrong(plan: Plan) -> bool:
    return bool(run_history(plan).violations)
