"""A program is started before the message comes, and nothing else happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

from bridgehub.agents.base import AgentDriver, Sink
from bridgehub.protocol.events import AgentMemory, AgentOffered, Noticed, TextPiece, TurnStopped
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import InterruptTurn, Prompt, WarmUp
from tests.bridgehub.hub_harness import ENDS, LIMIT_S, ScriptedDriver, open_hub, prompt, text_of, until

Start = Callable[[Sink], Awaitable[object]]


@attrs.define(eq=False)
class WarmDriver(ScriptedDriver):
    """A driver that can be started; `starts` has what came with each start."""

    start: Start = attrs.field(kw_only=True)
    starts: list[Prompt] = attrs.field(factory=list)
    began: trio.Event = attrs.field(factory=trio.Event)
    expected: int = 0

    def expect_terminal(self) -> None:
        self.expected += 1

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        self.starts.append(prompt)
        self.began.set()
        await self.start(sink)


async def say_hello(prompt: Prompt, sink: Sink) -> None:
    await sink.emit(TextPiece(prompt.turn_id, "text", "b", "hello"))


def drivers(*starts: Start) -> tuple[Callable[[HubSpec], AgentDriver], list[WarmDriver]]:
    """Return a factory whose drivers start like this, in the order in which they are made."""
    made: list[WarmDriver] = []

    def make(spec: HubSpec) -> AgentDriver:
        made.append(WarmDriver(say_hello, start=starts[len(made)]))
        return made[-1]

    return make, made


async def remember(sink: Sink) -> None:
    await sink.emit(AgentOffered(None, {"models": []}))
    await sink.emit(Noticed("", "x", "nobody wants to know"))
    await sink.remember({"thread": "t"})


async def test_what_a_start_brings_is_told_with_the_turn_that_uses_it(tmp_path: Path) -> None:
    make, made = drivers(remember)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        assert reader.link.welcome.takes_warm_up
        await reader.link.send(WarmUp(7, Setup(model="m")))
        while not reader.newest:
            await reader.read()
        assert [item.event for item in reader.newest] == [AgentOffered(None, {"models": []})]
        events = await reader.turn("t1", "x")
        assert [item.event for item in events if isinstance(item.event, AgentMemory)] == [
            AgentMemory("t1", {"thread": "t"})
        ]
        assert not any(isinstance(item.event, Noticed) for item in reader.events)
        again = await reader.turn("t2", "x")
        assert not any(isinstance(item.event, AgentMemory) for item in again)
    (driver,) = made
    (told,) = driver.starts
    assert (told.taken_before, told.setup) == (7, Setup(model="m"))


async def wants_a_person(sink: Sink) -> None:
    await sink.remember({"thread": "lost"})
    await sink.ask("Bash", {})


async def wants_history(sink: Sink) -> None:
    await sink.history(100)


@pytest.mark.parametrize("start", [wants_a_person, wants_history])
async def test_a_start_that_needs_more_is_as_if_nobody_had_asked(tmp_path: Path, start: Start) -> None:
    make, made = drivers(start, remember)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        await reader.link.send(WarmUp(0, Setup()))
        with trio.fail_after(LIMIT_S):
            await made[0].was_closed.wait()
        events = await reader.turn("t1", "x")
        assert text_of(events) == "hello"
        assert not any(isinstance(item.event, AgentMemory) for item in events)
        assert [driver.was_closed.is_set() for driver in made] == [True, False]


async def hang(sink: Sink) -> None:
    await trio.sleep_forever()


async def test_an_interrupt_gives_up_a_start_that_a_message_awaits(tmp_path: Path) -> None:
    make, made = drivers(hang, remember)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        await reader.link.send(WarmUp(0, Setup()))
        await made[0].began.wait()
        await reader.link.send(prompt("t1", "x"))
        await reader.link.send(InterruptTurn("t1"))
        (*_, end) = await reader.read_until(*ENDS)
        assert end.event == TurnStopped("t1")
        assert text_of(await reader.turn("t2", "x")) == "hello"
        assert [driver.was_closed.is_set() for driver in made] == [True, False]


async def test_a_driver_hears_of_a_terminal_in_a_turn_too(tmp_path: Path) -> None:
    starts: list[bool] = []

    async def note(sink: Sink) -> None:
        starts.append(made[0].expected > 0)

    make, made = drivers(note)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        await reader.link.send(WarmUp(0, Setup(), joins=True))
        await until(lambda: starts == [True])
        made[0].expected = 0
        await reader.link.send(WarmUp(0, Setup()))
        await until(lambda: starts == [True, False])
        await reader.link.send(prompt("t1", "x"))
        await reader.link.send(WarmUp(0, Setup(), joins=True))
        await until(lambda: made[0].expected > 0)
        await reader.read_until(*ENDS)


async def test_echo_needs_no_start(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(WarmUp(0, Setup()))
        assert text_of(await reader.turn("t1", "x")) == "echo: x "
