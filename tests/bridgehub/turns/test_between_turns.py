"""What an agent does without a prompt: turns that it begins by itself, and tasks in the background."""

from __future__ import annotations

from pathlib import Path

import attrs
import trio

from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.protocol.events import (
    Checkpointed,
    HubEvent,
    Joined,
    TaskBegan,
    TaskEnded,
    TextPiece,
    TurnBegan,
    TurnDone,
    TurnFailed,
    TurnStopped,
)
from bridgehub.protocol.messages import InterruptTurn, Prompt, Reported, StopTask
from tests.bridgehub.hub_harness import Reader, ScriptedDriver, open_hub, prompt, text_of, until


@attrs.define(eq=False)
class WakingDriver(ScriptedDriver):
    """A driver whose agent begins by itself whenever `wakes` says so, and works until `is_done`."""

    wakes: trio.Event = attrs.field(factory=trio.Event)
    is_done: trio.Event = attrs.field(factory=trio.Event)
    stopped: list[str] = attrs.field(factory=list)
    ends_tasks: bool = True

    async def wait_own_work(self, tell: Tell) -> None:
        await self.wakes.wait()
        self.wakes = trio.Event()

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnDone:
        await sink.emit(TextPiece(turn_id, "text", "own", "by myself"))
        await self.is_done.wait()
        return TurnDone(turn_id)

    async def interrupt(self) -> None:
        await super().interrupt()
        self.is_done.set()

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        self.stopped.append(task_id)
        if not self.ends_tasks:
            await trio.sleep_forever()
        await tell(TaskEnded(None, task_id, "cancelled"))


async def begin_task(prompt: Prompt, sink: Sink) -> None:
    await sink.emit(TaskBegan(prompt.turn_id, "k", "dig", "command", background=True))


def kinds(told: list[Reported]) -> list[type[HubEvent]]:
    return [type(item.event) for item in told]


async def test_echo_wakes_when_its_background_task_ends(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        told = await reader.turn("t1", "/background 0.1")
        (began,) = [item.event for item in told if isinstance(item.event, TaskBegan)]
        assert (began.turn_id, began.background, text_of(told)) == ("t1", True, "started")
        assert opened.hub.turns.is_busy
        woken = await reader.read_until(TurnDone)
        assert kinds(woken) == [TaskEnded, TurnBegan, TextPiece, TurnDone]
        ended, own = woken[0].event, woken[1].event
        assert isinstance(ended, TaskEnded)
        assert isinstance(own, TurnBegan)
        assert (ended.turn_id, ended.task_id, ended.state) == (None, began.task_id, "succeeded")
        assert [item.event.turn_id for item in woken[2:]] == [own.turn_id] * 2
        assert text_of(woken) == "woken"
        await until(lambda: not opened.hub.turns.is_busy)


async def test_a_background_task_that_is_ended_wakes_nobody(tmp_path: Path) -> None:
    async with open_hub(tmp_path) as opened:
        reader = await opened.reader()
        told = await reader.turn("t1", "/background 900")
        task_id = next(item.event.task_id for item in told if isinstance(item.event, TaskBegan))
        await reader.link.send(StopTask("another"))
        await reader.link.send(StopTask(task_id))
        (ended,) = await reader.read_until(TaskEnded)
        assert ended.event == TaskEnded(None, task_id, "cancelled")
        assert TurnBegan not in kinds(await reader.turn("t2", "hello"))


@attrs.define(eq=False)
class SharedDriver(WakingDriver):
    """A driver whose program is shared by a terminal and ends in its turn."""

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        await sink.emit(Joined(None, is_joined=True))
        return TurnFailed(prompt.turn_id, "agent_exited", "it ended", retryable=True)


async def test_terminals_that_shared_a_program_go_with_it(tmp_path: Path) -> None:
    driver = SharedDriver(begin_task)
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await opened.reader()
        told = [item.event for item in await reader.turn("t1", "x")]
        joined = [one.is_joined for one in told if isinstance(one, Joined)]
        assert joined == [True, False]


async def test_stopping_a_turn_ends_only_its_own_background(tmp_path: Path) -> None:
    driver = WakingDriver(begin_task)
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "x")

        async def begin_another(prompt: Prompt, sink: Sink) -> None:
            await sink.emit(TaskBegan(prompt.turn_id, "k2", "dig", "command", background=True))
            await driver.is_done.wait()

        driver.play = begin_another
        await reader.link.send(prompt("t2", "x"))
        await reader.read_until(TaskBegan)
        await reader.link.send(InterruptTurn("t2"))
        told = await reader.read_until(TurnStopped)
        assert TaskEnded(None, "k2", "cancelled") in [item.event for item in told]
        assert (driver.stopped, opened.hub.turns.is_busy) == (["k2"], True)


async def test_a_task_that_its_agent_does_not_end_counts_as_ended(tmp_path: Path) -> None:
    driver = WakingDriver(begin_task, ends_tasks=False)
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "x")
        await reader.link.send(StopTask("k"))
        (ended,) = await reader.read_until(TaskEnded)
        assert ended.event == TaskEnded(None, "k", "cancelled")


async def test_an_agent_that_goes_takes_its_background_with_it(tmp_path: Path) -> None:
    async def fail(prompt: Prompt, sink: Sink) -> None:
        raise RuntimeError("no more")

    driver = WakingDriver(begin_task)
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await opened.reader()
        await reader.turn("t1", "x")
        driver.play = fail
        told = [item.event for item in await reader.turn("t2", "x")]
        assert TaskEnded(None, "k", "cancelled") in told


async def test_a_message_waits_for_work_that_the_agent_began(
    tmp_path: Path,
) -> None:
    async def say(prompt: Prompt, sink: Sink) -> None:
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", "for you"))

    driver = WakingDriver(say)
    async with open_hub(tmp_path, lambda spec: driver) as opened:
        reader = await opened.reader()
        await reader.turn("t0", "x")
        for stops in (False, True):
            driver.is_done = trio.Event()
            driver.wakes.set()
            own = (await reader.read_until(TextPiece))[0].event
            turn_id = f"t-{stops}"
            await reader.link.send(prompt(turn_id, "x"))
            await until(lambda: opened.hub.turns.last_turn_id == f"t-{stops}")  # noqa: B023 - it is awaited here
            if stops:
                await reader.link.send(InterruptTurn(turn_id))
            else:
                driver.is_done.set()
            first = await reader.read_until(TurnDone, TurnStopped)
            if first[-1].event.turn_id != turn_id:
                first += await reader.read_until(TurnDone, TurnStopped)
            ends = [item.event for item in first if isinstance(item.event, TurnDone | TurnStopped)]
            end = TurnStopped if stops else TurnDone
            assert ends == [end(own.turn_id or ""), end(turn_id)]


async def test_the_first_checkpoint_of_the_agents_own_turn_is_late(tmp_path: Path) -> None:
    driver = WakingDriver(begin_task)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    kept = str(tmp_path / "checkpoints")
    async with open_hub(
        tmp_path, lambda spec: driver, checkpoint_folder=kept, workspace=str(workspace)
    ) as opened:
        reader = await opened.reader()
        await reader.link.send(prompt("t1", "x"))
        await _read_checkpoints(reader, 2)
        driver.wakes.set()
        driver.is_done.set()
        saved = await _read_checkpoints(reader, 4)
        told = [(one.of_turn == "t1", one.position, one.late) for one in saved]
        assert told == [
            (True, "before", False),
            (True, "after", False),
            (False, "before", True),
            (False, "after", False),
        ]


async def _read_checkpoints(reader: Reader, count: int) -> list[Checkpointed]:
    """Read until there were so many in all; return them."""
    while True:
        found = [one.event for one in reader.events if isinstance(one.event, Checkpointed)]
        if len(found) >= count:
            return found
        await reader.read_until(Checkpointed)
