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
"""After `warm` and some typing the first piece may come this much later than a warm turn's."""

_US_PER_MS = 1000.0


@attrs.frozen
class Fresh:
    """One round: a fresh conversation of the bare program, one of ours, one of ours after `warm`, and a warm turn."""

    bare: Timed
    cold: Timed
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
            warmed = await chains.turn(chains.ours, attrs.evolve(fresh, warm_s=plan.typing_s))
            rounds.append(Fresh(bare, cold, warmed, await chains.turn(chains.ours, ask)))
    return rows_of(agent.name, plan, rounds[1:])


def rows_of(name: str, plan: Plan, rounds: Sequence[Fresh]) -> list[Row]:
    """Return an agent's rows. Raises BenchError if there are no rounds."""
    bare, cold, warmed, warm = (
        [timed.first_us / _US_PER_MS for timed in column]
        for column in zip(*((one.bare, one.cold, one.warmed, one.warm) for one in rounds), strict=True)
    )
    longer = Target(MAX_COLD_RATIO, at_most=True)
    later = Target(MAX_WARMED_MS, at_most=True, of="difference")
    title = f"{name}: first piece of a fresh session"
    after = f"{title}, {plan.typing_s:g} s after `warm`"
    return [
        Row(title, "ms", spread(cold), spread(bare), ratios(cold, bare), longer, differences(cold, bare)),
        Row(after, "ms", spread(warmed), spread(warm), target=later, difference=differences(warmed, warm)),
    ]
