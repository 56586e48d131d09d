"""Rounds of random acts at the desk and on a phone, with the real programs; no word may be missing from what they see.

The suite runs a few. `python -m tests.e2e.desk_interleave 50 --seed 7 --agent codex` runs as many as wanted.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import trio

from tests.e2e.agents import open_agents
from tests.e2e.desk import QUIET
from tests.e2e.rounds.claude import ClaudeRound
from tests.e2e.rounds.codex import TAKEN_BACK, CodexRound
from tests.support.tui import claude_home

__all__ = ["run_rounds"]

PER_SERVER = 10
"""Rounds on one server: its start takes longer than some of them."""

ROUNDS = {"claude": ClaudeRound, "codex": CodexRound}


def end_daemons(home: Path) -> None:
    """End what a Codex that runs alone leaves in the background. It lies below the home."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.exe().startswith(f"{home}/"):
                process.terminate()


async def run_rounds(
    folder: Path, seeds: Sequence[int], agent: str, done: Callable[[int], object] = lambda seed: None
) -> None:
    """Run a round for each seed, one after another, on one server; `done` hears of each that was right."""
    async with open_agents(folder, codex_config=QUIET) as agents, agents.server.device() as phone:
        claude_home(agents.home, agents.workspace)
        await phone.say("watch_sessions")
        for seed in seeds:
            one = ROUNDS[agent](agents, phone, random.Random(seed), f"r{seed}")
            try:
                await one.run()
            except BaseException as error:
                error.add_note(f"{agent}, seed {seed}, acts {one.acts}")
                raise
            finally:
                end_daemons(agents.home)
            done(seed)
            if TAKEN_BACK in one.acts:
                print(f"seed {seed}: {one.acts.count(TAKEN_BACK)} times {TAKEN_BACK}", flush=True)


def main() -> None:
    """Run the rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description="Random acts at the desk and on a phone.")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--agent", choices=ROUNDS, default="claude")
    arguments = parser.parse_args()
    left, failed = [*range(arguments.seed, arguments.seed + arguments.rounds)], 0

    def done(seed: int) -> None:
        left.remove(seed)
        print(f"{arguments.agent}, seed {seed}: ok", flush=True)

    while left:
        try:
            with tempfile.TemporaryDirectory(prefix="desk-") as folder:
                trio.run(run_rounds, Path(folder), left[:PER_SERVER], arguments.agent, done)
        except Exception:
            failed += 1
            traceback.print_exc()
            left.pop(0)
    print(f"{arguments.rounds - failed} right, {failed} wrong")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
