"""The short form of `make torture ARGS="--nodes 2"`: a few random kills of homes, gateways and the database."""

from __future__ import annotations

import os

from tests.postgres.cluster import Cluster
from tests.postgres.nodes.pair import short_folder
from tests.torture.nodes import run_round_of_nodes

KILLS = 4


async def test_random_kills_of_two_nodes(own_cluster: Cluster) -> None:
    seed = int(os.environ.get("TORTURE_SEED", "20260"))
    with short_folder() as folder:
        tally = await run_round_of_nodes(folder, seed, KILLS, own_cluster)
    assert tally.problems == [], f"seed {seed}\n" + "\n".join(tally.lines())
    assert tally.killed.total() >= KILLS
