"""Both chains of each real agent, once in small, and their arithmetic."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from bench.agents import warm_turns
from bench.agents.turns import Timed
from bench.agents.warm_turns import measure_claude, measure_codex, rows_of
from bench.errors import NotInstalled
from bench.figures import Spread
from bench.plan import Plan

SMALL = attrs.evolve(Plan.quick(), words=200, turn_words=3, turn_pairs=1)

LIMIT_S = 120.0
"""Four programs are started and eight turns done: some five seconds."""


def say(what: str) -> None:
    """Nobody watches."""


def test_rows_compare_pair_by_pair() -> None:
    turns = [(Timed(30_000, 0, 0), Timed(34_000, 0, 0)), (Timed(50_000, 0, 0), Timed(56_000, 0, 0))]
    answers = [(Timed(0, 400_000, 500_000), Timed(0, 440_000, 650_000))]
    first, last, end = rows_of("codex", SMALL, turns, answers)
    assert (first.measured, first.against) == (Spread(45, 34, 56), Spread(40, 30, 50))
    assert first.difference == Spread(5, 4, 6)
    assert first.met is True
    assert last.ratio is not None
    assert last.ratio.median == pytest.approx(1.1)
    assert last.met is True
    assert end.ratio is not None
    assert end.ratio.median == pytest.approx(1.3)
    assert end.met is False


@pytest.mark.parametrize("measure", [measure_claude, measure_codex])
async def test_both_chains_run_to_their_ends(
    measure: warm_turns.Measure, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("b")  # a short name: the path of a hub's socket has at most 100 bytes
    with trio.fail_after(LIMIT_S):
        rows = await measure(SMALL, folder, say)
    assert len(rows) == 3
    assert all(row.measured.low > 0 and row.against is not None and row.against.low > 0 for row in rows)


@pytest.mark.parametrize(("name", "measure"), [("CLAUDE", measure_claude), ("CODEX", measure_codex)])
async def test_an_agent_that_is_not_installed_says_so(
    name: str, measure: warm_turns.Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(warm_turns, name, attrs.evolve(getattr(warm_turns, name), package="no_such_package"))
    with pytest.raises(NotInstalled, match="not installed; `make install` brings it"):
        await measure(SMALL, tmp_path, say)
