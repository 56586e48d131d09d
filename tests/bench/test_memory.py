from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from bench.memory.idle import measure_memory
from bench.memory.work import measure_after_work
from bench.plan import Plan

SMALL = attrs.evolve(Plan.quick(), idle_sessions=2, words=200)

LIMIT_S = 60.0


def say(what: str) -> None:
    """Nobody watches."""


async def test_an_idle_server_and_idle_sessions_are_weighed(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        rows = await measure_memory(SMALL, tmp_path, say)
    assert [row.unit for row in rows] == ["MiB", "MiB", "KiB", "KiB", "KiB"]
    assert rows[0].measured.low > 0


async def test_what_stays_after_an_answer_is_weighed(tmp_path_factory: pytest.TempPathFactory) -> None:
    with trio.fail_after(LIMIT_S):
        rows = await measure_after_work(SMALL, tmp_path_factory.mktemp("w"), say)
    assert len(rows) == 1
