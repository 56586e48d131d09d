"""The part of the nodes without PostgreSQL: it is left out with a line, and nothing of it is loaded for other parts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.devices import Seen
from bench.errors import NotInstalled
from bench.nodes.measure import MAX_MORE_MS, latency_row, measure_nodes
from bench.plan import Plan
from bench.report import Target
from tests.support.server import ROOT


async def test_without_postgresql_it_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("bench.nodes.clusters.is_installed", lambda: False)
    with pytest.raises(NotInstalled, match="apt install postgresql"):
        await measure_nodes(Plan.quick(), tmp_path, lambda what: None)


def test_other_parts_load_nothing_of_postgresql() -> None:
    script = "import sys, bench.__main__; sys.exit(any(name.startswith('psycopg') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(("other_us", "is_met"), [(8_000.0, True), (8_100.0, False)])
def test_the_other_node_may_take_5_ms_more(other_us: float, is_met: bool) -> None:
    home, other = (Seen(p50, 9_000.0, 1.0, 1, 1) for p50 in (3_000.0, other_us))
    target = Target(MAX_MORE_MS, at_most=True, of="difference")
    row = latency_row("p50", [(home, other)], lambda seen: seen.p50_us, target)
    assert (row.measured.median, row.met) == (other_us / 1000, is_met)
