"""A town of two nodes on one PostgreSQL: homes, gateways and the database are killed too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from typing import Final

from tests.postgres.cluster import Cluster
from tests.postgres.nodes.pair import open_pair
from tests.torture.rounds import Tally, run_round
from tests.torture.town import Place, Town
from tests.torture.traps import Victim

__all__ = ["run_round_of_nodes"]

_ALL: Final[tuple[Victim, ...]] = ("server", "gateway", "database", "hub", "agent")
VICTIMS: Final = tuple(frozenset(some) for count in (1, 1, 2, 3) for some in combinations(_ALL, count))
"""One alone is drawn as often as several at once."""


async def run_round_of_nodes(folder: Path, seed: int, kills: int, cluster: Cluster) -> Tally:
    """Run a round with two nodes, each the home of half of the sessions. People are at both."""

    @asynccontextmanager
    async def opened(folder: Path, config: str, record: Path) -> AsyncIterator[Town]:
        async with open_pair(cluster.new_database(), config=config, folder=folder) as nodes:
            yield Town((Place(nodes.a), Place(nodes.b)), record, database=cluster)

    return await run_round(folder, seed, kills, opened=opened, victims=VICTIMS)
