"""Fresh sessions of a real agent, against the bare program; Codex, which starts faster."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from bench.agents import cold
from bench.agents.cold import Fresh, rows_of
from bench.agents.turns import Timed
from bench.agents.warm_turns import CODEX
from bench.errors import NotInstalled
from bench.figures import Spread
from bench.plan import Plan

SMALL = attrs.evolve(Plan.quick(), turn_words=3)

LIMIT_S = 120.0


def say(what: str) -> None:
    """Nobody watches."""


def timed(first_ms: int) -> Timed:
    return Timed(first_ms * 1000, 0, 0)


def test_a_fresh_and_a_warmed_session_are_held_against_others() -> None:
    rounds = [
        Fresh(timed(200), timed(300), bare_warmed=timed(55), warmed=timed(60), warm=timed(50)),
        Fresh(timed(400), timed(400), bare_warmed=timed(80), warmed=timed(90), warm=timed(50)),
    ]
    fresh, bare, after = rows_of("codex", Plan(), rounds)
    assert fresh.ratio == Spread(1.25, 1.0, 1.5)
    assert fresh.met is True
    assert bare.difference == Spread(7.5, 5, 10)
    assert bare.met is True
    assert after.difference == Spread(25, 10, 40)
    assert after.met is None


async def test_a_fresh_session_is_timed_in_all_three_ways(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(cold, "AGENTS", (CODEX,))
    with trio.fail_after(LIMIT_S):
        rows = await cold.measure_cold(SMALL, tmp_path_factory.mktemp("c"), say)
    assert len(rows) == 3
    assert all(row.measured.low > 0 and row.against is not None and row.against.low > 0 for row in rows)


async def test_without_any_agent_the_part_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cold, "AGENTS", (attrs.evolve(CODEX, package="no_such_package"),))
    with pytest.raises(NotInstalled):
        await cold.measure_cold(SMALL, tmp_path, say)
