"""`make torture`: a thousand random kills, with the figures; `--seed` repeats a run, `--round` one round of it."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import trio

from tests.torture.rounds import Tally, run_round

KILLS_A_ROUND = {1: 50, 2: 15}
"""By the number of nodes: a fresh data folder after so many, for a failure is then found in a short journal."""


def main() -> int:
    """Run; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--round", type=int, help="only this one of the seed's rounds")
    parser.add_argument(
        "--nodes", type=int, choices=(1, 2), default=1, help="servers; two share a PostgreSQL"
    )
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    total, number, start = Tally(), arguments.round or 0, time.monotonic()
    while total.killed.total() < arguments.kills:
        kills = min(KILLS_A_ROUND[arguments.nodes], arguments.kills - total.killed.total())
        tally = run(arguments.seed, number, kills, nodes=arguments.nodes)
        total.add(tally)
        spent_s = time.monotonic() - start
        print(f"round {number}: {total.killed.total()} kills, {spent_s:.0f} s", flush=True)
        for problem in tally.problems:
            print(f"  WRONG {problem.kind}: {problem.about}", flush=True)
        number += 1
        if arguments.round is not None:
            break
    print("\n".join(total.lines()), flush=True)
    return 1 if total.problems else 0


def run(seed: int, number: int, kills: int, *, nodes: int) -> Tally:
    """Run one round in a folder of its own; a failure says how to repeat it."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name, ExitStack() as stack:
        folder, asked = Path(name), partial(run_round, Path(name), seed * 1000 + number, kills)
        if nodes > 1:
            # PostgreSQL's own: without it there is only one server.
            from tests.postgres.cluster import temporary_cluster
            from tests.torture.nodes import run_round_of_nodes

            cluster = stack.enter_context(temporary_cluster())
            asked = partial(run_round_of_nodes, folder, seed * 1000 + number, kills, cluster)
        try:
            return trio.run(asked)
        except BaseException:
            print(f"FAILED: --nodes {nodes} --seed {seed} --round {number}", flush=True)
            for log in folder.rglob("stderr.log"):
                print(log, log.read_text()[-4000:], sep="\n", flush=True)
            raise


if __name__ == "__main__":
    sys.exit(main())
