"""The short form of `make torture`: a few random kills of a fixed seed; `TORTURE_SEED` takes another."""

from __future__ import annotations

import os

import pytest

from tests.torture.rounds import run_round

KILLS = 10


async def test_random_kills(tmp_path_factory: pytest.TempPathFactory) -> None:
    seed = int(os.environ.get("TORTURE_SEED", "20240"))
    tally = await run_round(tmp_path_factory.mktemp("t"), seed, KILLS)
    assert tally.problems == [], f"seed {seed}\n" + "\n".join(tally.lines())
    assert tally.killed.total() >= KILLS
