"""How long a fresh session of a real agent takes to its first piece: cold, and if somebody has typed before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from bench.agents.turns import Ask, Timed
from bench.agents.warm_turns import CLAUDE, CODEX, Agent, check_installed, open_chains
from bench.errors import NotInstalled
from bench.figures import differences, ratios, spread
from bench.plan import Plan
from bench.report import Row, Target

__all__ = ["Fresh", "measure_cold", "rows_of"]

AGENTS = (CLAUDE, CODEX)

MAX_COLD_RATIO = 1.25
MAX_WARMED_MS = 20.0
"""After `warm` and some typing the first piece may come this much later than the bare program's."""

_US_PER_MS = 1000.0


@attrs.frozen
class Fresh:
    """One round.

    Attributes:
        bare, cold: a fresh conversation of the bare program, and of ours.
        bare_warmed, warmed: the same with the program started before: the bare one itself, ours by `warm`.
        warm: a later turn of ours.
    """

    bare: Timed
    cold: Timed
    bare_warmed: Timed
    warmed: Timed
    warm: Timed


async def measure_cold(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of all agents that are there.

    Raises:
        NotInstalled: there is none.
        BenchError: a chain did not come up, or a turn broke.
    """
    rows: list[Row] = []
    missing: NotInstalled | None = None
    for agent in AGENTS:
        try:
            check_installed(agent)
        except NotInstalled as error:
            missing = error
            continue
        rows += await _measure(agent, plan, folder / f"cold-{agent.name}", say)
    if missing is not None and not rows:
        raise missing
    return rows


async def _measure(agent: Agent, plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    ask = Ask(f"words {plan.turn_words}", plan.turn_words, plan.run_limit_s)
    fresh = attrs.evolve(ask, fresh=True)
    rounds = []
    async with open_chains(agent, plan, folder) as chains:
        for number in range(plan.cold_pairs + 1):
            say(f"{agent.name}, fresh sessions, round {number} of {plan.cold_pairs}")
            bare, cold = await chains.pair_of(fresh, number)
            both = await chains.pair_of(attrs.evolve(fresh, warm_s=plan.typing_s), number)
            rounds.append(Fresh(bare, cold, *both, await chains.turn(chains.ours, ask)))
    return rows_of(agent.name, plan, rounds[1:])


def rows_of(name: str, plan: Plan, rounds: Sequence[Fresh]) -> list[Row]:
    """Return an agent's rows. Raises BenchError if there are no rounds."""
    bare, cold, bare_warmed, warmed, warm = (
        [timed.first_us / _US_PER_MS for timed in column]
        for column in zip(*(attrs.astuple(one, recurse=False) for one in rounds), strict=True)
    )
    longer = Target(MAX_COLD_RATIO, at_most=True)
    later = Target(MAX_WARMED_MS, at_most=True, of="difference")
    title = f"{name}: first piece of a fresh session"
    after = f"{title}, {plan.typing_s:g} s after `warm`"
    return [
        Row(title, "ms", spread(cold), spread(bare), ratios(cold, bare), longer, differences(cold, bare)),
        Row(
            f"{after}, against the bare program",
            "ms",
            spread(warmed),
            spread(bare_warmed),
            target=later,
            difference=differences(warmed, bare_warmed),
        ),
        Row(
            f"{after}, against a warm turn",
            "ms",
            spread(warmed),
            spread(warm),
            difference=differences(warmed, warm),
        ),
    ]
