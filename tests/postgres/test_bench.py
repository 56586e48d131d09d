"""The bench's part of several machines, with sizes of seconds: everything works; the figures mean little."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from bench.nodes.measure import measure_nodes
from bench.plan import Plan

LIMIT_S = 120.0


async def test_pieces_appends_and_a_fail_over_are_measured(tmp_path: Path) -> None:
    plan = attrs.evolve(Plan.quick(), appends_s=0.1)
    with trio.fail_after(LIMIT_S):
        rows = await measure_nodes(plan, tmp_path, lambda what: None)
    assert [row.target is not None for row in rows] == [True, False, True, True, True, False]
    assert all(row.measured.low >= 0 for row in rows)
    assert rows[0].difference is not None
    assert rows[2].ratio is not None
