"""Several machines on one PostgreSQL: what a piece, an append and a fail-over take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.devices import Seen
from bench.errors import NotInstalled
from bench.figures import differences, spread
from bench.path import Bench
from bench.plan import Plan
from bench.processes import open_child
from bench.report import Row, Target

if TYPE_CHECKING:
    from bench.nodes.clusters import Postgres

__all__ = ["latency_row", "measure_nodes"]

MAX_MORE_MS = 5.0

_US_PER_MS = 1000.0


async def measure_nodes(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of pieces at home and at another node, of durable appends, and of a fail-over.

    Raises:
        NotInstalled: PostgreSQL or its driver is missing.
        BenchError: a run broke.
    """
    postgres = _postgres()  # only then is anything of PostgreSQL imported
    from bench.nodes.appends import measure_appends
    from bench.nodes.failover import measure_failover

    with postgres.alone() as cluster:
        rows = await _latency(plan, folder, cluster.new_database(), say)
        urls = [cluster.new_database() for _ in range(plan.pairs + 1)]
        rows += await measure_appends(plan, folder, urls, say)
    return rows + await measure_failover(plan, folder, postgres, say)


def _postgres() -> Postgres:
    try:
        from bench.nodes import clusters
    except ImportError as error:
        raise NotInstalled(f"{error.name} is missing, which the nodes need: make install") from None
    if not clusters.is_installed():
        raise NotInstalled("PostgreSQL is missing: on Debian and Ubuntu, apt install postgresql")
    return clusters.Postgres()


async def _latency(plan: Plan, folder: Path, url: str, say: Callable[[str], None]) -> list[Row]:
    """Measure the same session's pieces at its home and at the other node, in turn."""
    from bench.nodes.clusters import open_pair

    place = folder / "nodes"
    place.mkdir()
    async with (
        open_pair(url, place) as nodes,
        open_child("devices", ["-m", "bench.devices"], place) as devices,
    ):
        bench = Bench(plan, place, devices)
        counted: list[tuple[Seen, Seen]] = []
        for number in range(plan.pairs + 1):  # the first makes the session and does not count
            say(f"nodes, pair {number} of {plan.pairs}")
            counted.append(
                (await bench.run_ours(nodes["home"], "clock"), await bench.run_ours(nodes["other"], "clock"))
            )
    rate = f"{1000 / plan.clock_pause_ms:g}/s"
    limit = Target(MAX_MORE_MS, at_most=True, of="difference")
    return [
        latency_row(
            f"p50 at {rate} at another node, against home", counted[1:], lambda seen: seen.p50_us, limit
        ),
        latency_row(f"p99 at {rate} at another node, against home", counted[1:], lambda seen: seen.p99_us),
    ]


def latency_row(
    name: str, pairs: list[tuple[Seen, Seen]], figure: Callable[[Seen], float], target: Target | None = None
) -> Row:
    """Return the row of a figure at the other node, pair by pair against home; `figure` is in microseconds."""
    home = [figure(one) / _US_PER_MS for one, _ in pairs]
    other = [figure(one) / _US_PER_MS for _, one in pairs]
    more = differences(other, home)
    return Row(name, "ms", spread(other), spread(home), target=target, difference=more)
