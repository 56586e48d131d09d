"""What stays in the server's memory after an agent's long answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from bench.agents.turns import Ask
from bench.agents.warm_turns import CLAUDE, check_installed, open_chains
from bench.figures import spread
from bench.plan import Plan
from bench.processes import proportional_kib
from bench.report import Row, Target

__all__ = ["measure_after_work"]

MAX_LEFT_MIB = 4.0

_KIB = 1024.0


async def measure_after_work(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the row of one session's stream of Claude Code.

    Raises:
        NotInstalled: there is none here.
        BenchError: the server did not come up, or the turn broke.
    """
    await trio.lowlevel.checkpoint()
    check_installed(CLAUDE)
    say(f"{plan.words:,} words, and what stays of them")
    async with open_chains(CLAUDE, plan, folder / "after-work") as chains:
        pid = chains.server.pid
        before = proportional_kib(pid)
        await chains.turn(chains.ours, Ask(f"words {plan.words}", plan.words, plan.run_limit_s))
        await trio.sleep(plan.rest_s)
        after = proportional_kib(pid)
    limit = Target(MAX_LEFT_MIB, at_most=True, of="measured")
    title = f"server after {plan.words:,} words of one session: PSS that stays"
    return [Row(title, "MiB", spread([(after - before) / _KIB]), target=limit)]
