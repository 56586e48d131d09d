"""The yardstick, its producer and the measuring devices, as the real processes that they are."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from bench.chains import open_bare_chain
from bench.errors import BenchError
from bench.path import Bench
from bench.plan import Plan
from bench.processes import open_child, proportional_kib, spent_s

PLAN = Plan(clock_pieces=20, clock_pause_ms=2.0, words=3_000, run_limit_s=30.0)
LIMIT_S = 60.0


@pytest.mark.parametrize("join", [False, True])
async def test_all_pieces_reach_all_devices(tmp_path: Path, *, join: bool) -> None:
    with trio.fail_after(LIMIT_S):
        async with (
            open_bare_chain(tmp_path, join=join) as chain,
            open_child("devices", ["-m", "bench.devices"], tmp_path) as devices,
        ):
            bench = Bench(PLAN, tmp_path, devices)
            timed = await bench.run_bare(chain, "clock")
            flat_out = await bench.run_bare(chain, "words")
    assert 0 < timed.p50_us <= timed.p99_us
    assert flat_out.rate > 0
    assert flat_out.frames <= PLAN.words if join else flat_out.frames == PLAN.words


async def test_a_run_that_takes_too_long_is_given_up_in_one_line(tmp_path: Path) -> None:
    plan = attrs.evolve(PLAN, clock_pause_ms=500.0, run_limit_s=0.5)
    with trio.fail_after(LIMIT_S), pytest.raises(BenchError, match="devices ended: the run was not done"):
        async with (
            open_bare_chain(tmp_path) as chain,
            open_child("devices", ["-m", "bench.devices"], tmp_path) as devices,
        ):
            await Bench(plan, tmp_path, devices).run_bare(chain, "clock")


async def test_a_yardstick_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "bare.db").mkdir()
    with trio.fail_after(LIMIT_S), pytest.raises(BenchError, match=r"the yardstick ended: .*CantOpen"):
        async with open_bare_chain(tmp_path):
            raise AssertionError("it must not start")


async def test_a_living_process_has_weight_and_a_dead_one_none(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT_S):
        async with open_child("child", ["-c", "print('up', flush=True); input()"], tmp_path) as child:
            assert await child.line() == "up"
            assert proportional_kib(child.pid) > 0
            assert spent_s(child.pid) > 0
    with pytest.raises(BenchError):
        proportional_kib(child.pid)
