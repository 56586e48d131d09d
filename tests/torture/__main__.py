"""`make torture`: a thousand random kills, with the figures; `--seed` repeats a run, `--round` one round of it."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import trio

from tests.torture.rounds import Tally, run_round

KILLS_A_ROUND = 50
"""A fresh data folder after so many: a failure is then found in a short journal."""


def main() -> int:
    """Run; return 1 where anything was wrong."""
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="processes to kill (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--round", type=int, help="only this one of the seed's rounds")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    total, number, start = Tally(), arguments.round or 0, time.monotonic()
    while total.killed.total() < arguments.kills:
        tally = run(arguments.seed, number, min(KILLS_A_ROUND, arguments.kills - total.killed.total()))
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


def run(seed: int, number: int, kills: int) -> Tally:
    """Run one round in a folder of its own; a failure says how to repeat it."""
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        try:
            return trio.run(lambda: run_round(Path(folder), seed * 1000 + number, kills))
        except BaseException:
            print(f"FAILED: --seed {seed} --round {number}", flush=True)
            print((Path(folder) / "stderr.log").read_text()[-4000:], flush=True)
            raise


if __name__ == "__main__":
    sys.exit(main())
