"""One end for each turn, whatever the driver does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from bridgehub.agents.base import AgentDriver, Sink
from bridgehub.protocol.events import Consumed, PermissionAsked, TextPiece, TurnDone, TurnFailed, TurnStopped
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Decided, InterruptTurn, Prompt
from tests.bridgehub.hub_harness import ENDS, ScriptedDriver, open_hub, prompt, text_of

Play = Callable[[Prompt, Sink], Awaitable[object]]


def drivers(*plays: Play) -> tuple[Callable[[HubSpec], AgentDriver], list[ScriptedDriver]]:
    """Return a factory whose drivers play `plays` in the order in which they are made."""
    made: list[ScriptedDriver] = []

    def make(spec: HubSpec) -> AgentDriver:
        made.append(ScriptedDriver(plays[len(made)]))
        return made[-1]

    return make, made


async def say_hello(prompt: Prompt, sink: Sink) -> None:
    await sink.emit(TextPiece(prompt.turn_id, "text", "b", "hello"))


async def fail(prompt: Prompt, sink: Sink) -> None:
    await trio.lowlevel.checkpoint()
    raise RuntimeError("no more")


async def fail_in_a_group(prompt: Prompt, sink: Sink) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail, prompt, sink)
        nursery.start_soon(trio.sleep_forever)


async def hang(prompt: Prompt, sink: Sink) -> None:
    await trio.sleep_forever()


async def hang_on_to_life(prompt: Prompt, sink: Sink) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(2.5)
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", "from beyond"))


@pytest.mark.parametrize("play", [fail, fail_in_a_group])
async def test_a_driver_that_raises_fails_the_turn_and_is_replaced(tmp_path: Path, play: Play) -> None:
    make, made = drivers(play, say_hello)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        (*_, end) = await reader.turn("t1", "x")
        assert isinstance(end.event, TurnFailed)
        assert end.event.code == "agent_exited"
        assert "RuntimeError" in end.event.content
        assert text_of(await reader.turn("t2", "x")) == "hello"
        assert [driver.was_closed.is_set() for driver in made] == [True, False]


async def test_one_driver_serves_all_turns(tmp_path: Path) -> None:
    make, made = drivers(say_hello)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "x")
        await reader.turn("t2", "x")
    assert len(made) == 1
    assert made[0].was_closed.is_set()


@pytest.mark.parametrize("play", [hang, hang_on_to_life])
async def test_an_agent_that_hangs_ends_its_turn_in_time(tmp_path: Path, play: Play) -> None:
    make, made = drivers(play, say_hello)
    async with open_hub(tmp_path, make, silence_s=0.2) as opened:
        reader = await opened.reader()
        (*_, end) = await reader.turn("t1", "x")
        assert isinstance(end.event, TurnFailed)
        assert (end.event.code, end.event.retryable) == ("timeout", True)
        assert text_of(await reader.turn("t2", "x")) == "hello"
        assert [driver.was_closed.is_set() for driver in made] == [True, False]


@pytest.mark.parametrize("play", [hang, hang_on_to_life])
async def test_an_ignored_interrupt_is_enforced(tmp_path: Path, play: Play) -> None:
    make, made = drivers(play, say_hello)
    async with open_hub(tmp_path, make) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "x"))
        await reader.read_until(Consumed)
        start = trio.current_time()
        await reader.link.send(InterruptTurn("t1"))
        (end,) = await reader.read_until(*ENDS)
        assert trio.current_time() - start > 1.1
        assert end.event == TurnStopped("t1")
        assert made[0].interrupts == 1
        assert text_of(await reader.turn("t2", "x")) == "hello"
        with trio.fail_after(20):
            await made[0].was_closed.wait()
        await reader.turn("t3", "x")
    assert "from beyond" not in text_of(reader.events)


async def test_a_polite_interrupt_keeps_the_driver(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/hang"))
        await reader.read_until(Consumed)
        driver = opened.hub.turns.agent.driver
        await reader.link.send(InterruptTurn("t1"))
        (end,) = await reader.read_until(*ENDS)
        assert end.event == TurnStopped("t1")
        assert opened.hub.turns.agent.driver is driver


async def test_an_interrupt_right_behind_its_prompt_is_not_lost(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        opened.hub.take_nowait(prompt("t1", "/hang"))
        opened.hub.take_nowait(InterruptTurn("t1"))
        events = await reader.read_until(*ENDS)
        assert events[-1].event == TurnStopped("t1")


async def test_an_interrupt_of_another_turn_is_ignored(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "x")
        await reader.link.send(InterruptTurn("t1"))
        await reader.link.send(InterruptTurn("t9"))
        events = await reader.turn("t2", "y")
        assert events[-1].event == TurnDone("t2")


@pytest.mark.parametrize(
    ("decision", "answer"),
    [("allow", "allowed"), ("allow_session", "allowed"), ("deny", "denied"), ("cancelled", "denied")],
)
async def test_a_permission_waits_for_its_answer(tmp_path: Path, decision: str, answer: str) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/ask may I"))
        asked = (await reader.read_until(PermissionAsked))[-1].event
        assert isinstance(asked, PermissionAsked)
        assert (asked.tool, asked.input) == ("practice", {"text": "may I"})
        reader.link = await opened.connect(last_seq=reader.position)
        assert reader.link.welcome.waiting == (asked.request_id,)
        await reader.link.send(Decided("another", "deny"))
        await reader.link.send(Decided(asked.request_id, decision))  # type: ignore[arg-type]
        await reader.link.send(Decided(asked.request_id, "deny"))
        assert text_of(await reader.read_until(*ENDS)) == answer
        assert (await opened.connect(last_seq=reader.position)).welcome.waiting == ()


async def test_an_interrupted_question_is_forgotten(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "/ask may I"))
        await reader.read_until(PermissionAsked)
        await reader.link.send(InterruptTurn("t1"))
        (end,) = await reader.read_until(*ENDS)
        assert end.event == TurnStopped("t1")
        assert opened.hub.welcome().waiting == ()


@pytest.mark.parametrize("kind", ["nonsense", "codex-not-there"])
async def test_an_unknown_kind_says_so(tmp_path: Path, kind: str) -> None:
    async with open_hub(tmp_path, kind=kind) as opened:
        reader = await opened.reader()
        (end,) = await reader.turn("t1", "x")
        assert isinstance(end.event, TurnFailed)
        assert end.event.code == "not_installed"
        assert kind in end.event.content
