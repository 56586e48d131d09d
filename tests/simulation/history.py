"""Runs one plan from its beginning to rest, and returns what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

import actors.cursor
import actors.session.loading
import actors.tail
from tests.simulation.chaos import Chaos
from tests.simulation.checks import check_all, unrest
from tests.simulation.nodes.nodes_world import NodesWorld
from tests.simulation.plan import FaultKind, Plan
from tests.simulation.scheduling import run_seeded
from tests.simulation.world import World

__all__ = ["Outcome", "run_history"]

PLAN_S = 9.0
"""How long a history runs before all faults end: the plan's acts are over by then, and most turns."""

QUIET_S = 240.0
"""How long everything may take to come to rest after that."""

END_S = 60.0
"""How long the last server may take to end."""


@attrs.frozen
class Outcome:
    """What came of one plan.

    Attributes:
        violations: what was wrong, in words; empty if all is well.
        trace: each step that can be seen from outside, where it was wanted.
        struck: the faults that struck.
        ticks: how often a seam was used.
    """

    plan: Plan
    violations: tuple[str, ...]
    trace: str
    struck: tuple[FaultKind, ...]
    ticks: int


def run_history(
    plan: Plan, *, tracing: bool = False, instruments: Sequence[trio.abc.Instrument] = ()
) -> Outcome:
    """Run a plan. The same plan gives the same outcome, to the letter of its trace."""
    chaos = Chaos(plan, tracing)

    async def main() -> None:
        await _run(chaos)

    with _knobs_of(plan), _quiet_logs():
        run_seeded(plan.seed, main, instruments)
    trace = "\n".join(chaos.trace)
    return Outcome(plan, tuple(chaos.violations), trace, tuple(chaos.struck), chaos.ticks)


async def _run(chaos: Chaos) -> None:
    with chaos.scope:
        async with trio.open_nursery() as hubs:
            await _live(chaos, hubs)


async def _live(chaos: Chaos, hubs: trio.Nursery) -> None:
    world = _world_of(chaos, hubs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run_servers)
        for device in world.devices:
            nursery.start_soon(device.run)
        await world.follow_plan()
        await trio.sleep_until(PLAN_S)
        world.heal()
        await _settle(world)
        check_all(world)
        await _end(world)
        nursery.cancel_scope.cancel()
    hubs.cancel_scope.cancel()


def _world_of(chaos: Chaos, hubs: trio.Nursery) -> World:
    return World(chaos, hubs) if chaos.plan.knobs.nodes == 1 else NodesWorld(chaos, hubs)


async def _settle(world: World) -> None:
    """Wait until all is quiet; whatever waits for a person gets one."""
    left: list[str] = ["nothing was looked at"]
    deadline = trio.current_time() + QUIET_S
    wait_s = 0.5
    while left and trio.current_time() < deadline:
        await trio.sleep(wait_s)
        wait_s = min(wait_s * 2, 8.0)
        left = unrest(world)
        if left:
            await world.nudge()
    if left:
        world.chaos.complain(f"it does not come to rest: {left}")


async def _end(world: World) -> None:
    """Stop the last server in order; it must end, and leave nothing."""
    world.over = True
    with trio.move_on_after(END_S) as limit:  # noqa: ASYNC912 - there may be no server left
        for server in world.open_servers():
            server.stop(stop_hubs=True)
            await server.ended.wait()
    if limit.cancelled_caught:
        world.chaos.complain("the server does not end")
    if living := world.machine.living():
        world.chaos.complain(f"hubs live on after all was stopped: {[one.hub_id for one in living]}")


@contextmanager
def _knobs_of(plan: Plan) -> Iterator[None]:
    """Make the bounds of the tail and of a page as small as the plan wants them."""
    before = actors.tail.TAIL_BYTES, actors.tail.IDLE_TAIL_BYTES, actors.cursor.PAGE_ROWS
    knobs = plan.knobs
    actors.tail.TAIL_BYTES = knobs.tail_bytes
    actors.tail.IDLE_TAIL_BYTES = min(knobs.tail_bytes // 2, before[1])
    actors.cursor.PAGE_ROWS = actors.session.loading.PAGE_ROWS = knobs.page_rows
    try:
        yield
    finally:
        actors.tail.TAIL_BYTES, actors.tail.IDLE_TAIL_BYTES = before[:2]
        actors.cursor.PAGE_ROWS = actors.session.loading.PAGE_ROWS = before[2]


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Write no log: what goes wrong here is meant to."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
