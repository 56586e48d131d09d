"""Each steered message has exactly one outcome, reported before its turn's end, whatever happens meanwhile."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio

from bridgehub.agents.base import Sink
from bridgehub.protocol.events import (
    Consumed,
    HubEvent,
    SteerLost,
    SteerRefused,
    SteerTaken,
    TurnDone,
    TurnStopped,
)
from bridgehub.protocol.messages import InterruptTurn, Prompt, Steer
from tests.bridgehub.hub_harness import ENDS, OpenHub, Reader, ScriptedDriver, open_hub, prompt, until


@attrs.define(eq=False)
class SteeredDriver(ScriptedDriver):
    """Its turn ends when the test says; `steer` notes that it was called, then waits for the test or raises."""

    can_steer: bool = True
    end: trio.Event = attrs.field(factory=trio.Event)
    answer: trio.Event = attrs.field(factory=trio.Event)
    fails: bool = False

    async def steer(self, steer: Steer) -> bool:
        self.steered.append(steer)
        if self.fails:
            raise RuntimeError("in mid-write")
        await self.answer.wait()
        return self.takes_steers


def make_driver() -> SteeredDriver:
    async def play(prompt: Prompt, sink: Sink) -> None:
        await driver.end.wait()

    driver = SteeredDriver(play)
    return driver


async def begin(opened: OpenHub, driver: SteeredDriver, *messages: str) -> Reader:
    """Start a turn and have `messages` steered into it; return once the driver has the first."""
    reader = await opened.reader()
    await reader.link.send(prompt("t1", "x"))
    await reader.read_until(Consumed)
    for message_id in messages:
        await reader.link.send(Steer("t1", message_id, "more"))
    await until(lambda: bool(driver.steered) and len(opened.hub.turns.steered) == len(messages))
    return reader


def last(reader: Reader, count: int) -> list[HubEvent]:
    return [item.event for item in reader.events[-count:]]


@pytest.mark.parametrize("takes", [True, False])
async def test_an_outcome_that_comes_with_the_turns_end_is_told(tmp_path: Path, takes: bool) -> None:
    driver = make_driver()
    driver.takes_steers = takes
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await begin(opened, driver, "s1")
        driver.end.set()
        driver.answer.set()
        await reader.read_until(*ENDS)
        told = SteerTaken("t1", "s1") if takes else SteerRefused("t1", "s1")
        assert last(reader, 2) == [told, TurnDone("t1")]


async def test_an_outcome_that_waited_for_room_outlives_the_turns_end(tmp_path: Path) -> None:
    """The agent took the message, but its word could not get out before the turn was over."""
    driver = make_driver()
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await begin(opened, driver, "s1")
        opened.hub.outbox.limit_bytes = 0  # full, until the server has acknowledged
        driver.answer.set()
        await until(lambda: bool(opened.hub.outbox._room))
        driver.end.set()
        await until(lambda: opened.hub.turns._turn is None)
        opened.hub.outbox.limit_bytes = 1 << 20
        opened.hub.outbox._room.unpark_all()
        await reader.read_until(*ENDS)
        assert last(reader, 2) == [SteerTaken("t1", "s1"), TurnDone("t1")]
        assert sum(isinstance(item.event, SteerTaken) for item in reader.events) == 1


@pytest.mark.parametrize("fails", [True, False])
async def test_a_message_of_unknown_fate_is_lost_and_never_refused(tmp_path: Path, fails: bool) -> None:
    """`fails`: the driver raised. Else it hung until the turn was over, and the second was never tried."""
    driver = make_driver()
    driver.fails = fails
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await begin(opened, driver, *(["s1"] if fails else ["s1", "s2"]))
        driver.end.set()
        await reader.read_until(*ENDS)
        assert last(reader, 2 if fails else 3) == [
            SteerLost("t1", "s1"),
            *([] if fails else [SteerRefused("t1", "s2")]),
            TurnDone("t1"),
        ]


async def test_an_interrupt_refuses_what_was_not_tried(tmp_path: Path) -> None:
    driver = make_driver()
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await begin(opened, driver, "s1", "s2")
        await reader.link.send(InterruptTurn("t1"))
        await reader.read_until(*ENDS)
        assert last(reader, 3) == [SteerLost("t1", "s1"), SteerRefused("t1", "s2"), TurnStopped("t1")]
