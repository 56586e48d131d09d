"""A seed is all that decides: the same one gives the same history to the letter, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import attrs
import pytest
import trio
from trio._core import _run as trio_loop

from tests.simulation.history import run_history
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.scheduling import run_seeded

SEEDS = tuple(range(0, 400, 10))
"""Large plans, with several sessions, devices and faults."""


@attrs.define(eq=False)
class _Steps(trio.abc.Instrument):
    """The order in which tasks run."""

    names: list[str] = attrs.field(factory=list)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.names.append(task.name)


def _told(plan: Plan) -> tuple[str, list[str]]:
    steps = _Steps()
    outcome = run_history(plan, tracing=True, instruments=[steps])
    return outcome.trace, steps.names


def digest() -> str:
    """Return what all of `SEEDS` came to, each step of it."""
    whole = sha256()
    for seed in SEEDS:
        trace, names = _told(draw_plan(seed))
        whole.update(trace.encode())
        whole.update(" ".join(names).encode())
    return whole.hexdigest()


def test_a_seed_gives_the_same_history_twice() -> None:
    for seed in SEEDS[:10]:
        first, again = _told(draw_plan(seed)), _told(draw_plan(seed))
        assert first == again
        assert len(first[0].splitlines()) > 20
        assert len(first[1]) > 100


def test_a_seed_gives_the_same_history_in_another_process() -> None:
    # Another order of all sets of text, and other addresses of all objects.
    environment = {**os.environ, "PYTHONHASHSEED": "17", "PYTHONPATH": "."}
    root = Path(__file__).parents[2]
    code = "from tests.simulation.test_replay import digest; print(digest())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest()


def test_the_seed_of_the_scheduler_decides_the_order() -> None:
    plan = draw_plan(20)
    orders = {tuple(_told(attrs.evolve(plan, seed=seed))[1]) for seed in range(8)}
    assert len(orders) > 4


def _order(seed: int) -> list[int]:
    order: list[int] = []

    async def main() -> None:
        async def note(number: int) -> None:
            for _ in range(3):
                await trio.sleep(1)
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(note, number)

    run_seeded(seed, main)
    return order


def test_tasks_that_wake_together_run_in_the_order_of_the_seed() -> None:
    orders = [_order(seed) for seed in range(20)]
    assert orders == [_order(seed) for seed in range(20)]
    assert len({tuple(order) for order in orders}) > 15


def test_the_loop_is_left_as_it_was() -> None:
    before = trio_loop._ALLOW_DETERMINISTIC_SCHEDULING, trio_loop._r.getstate()
    _order(1)

    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_seeded(1, fail)
    assert (trio_loop._ALLOW_DETERMINISTIC_SCHEDULING, trio_loop._r.getstate()) == before
