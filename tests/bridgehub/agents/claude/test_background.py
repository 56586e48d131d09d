"""The claude driver with the real program: commands in the background, and what they wake it to do."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bridgehub.protocol.events import (
    PermissionAsked,
    TaskBegan,
    TaskEnded,
    TextPiece,
    ToolEnded,
    TurnBegan,
    TurnDone,
    TurnStopped,
)
from bridgehub.protocol.messages import Decided, InterruptTurn, StopTask
from tests.bridgehub.claude_hub import open_claude_hub
from tests.bridgehub.hub_harness import Reader, prompt, text_of, until
from tests.standin.replies import Answer, Hang, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, ClaudeRig, open_rig, program_pids

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


def in_background(command: str) -> ToolUse:
    return ToolUse("Bash", {"command": command, "description": "work on", "run_in_background": True})


def bash(command: str) -> ToolUse:
    return ToolUse("Bash", {"command": command, "description": "try it"})


async def allow_next(reader: Reader) -> PermissionAsked:
    """Allow the next request."""
    told = await reader.read_until(PermissionAsked)
    asked = next(item.event for item in told if isinstance(item.event, PermissionAsked))
    await reader.link.send(Decided(asked.request_id, "allow"))
    return asked


async def leave_in_background(rig: ClaudeRig, reader: Reader, turn_id: str, command: str) -> str:
    """Run a turn that leaves a command in the background; return its task's id."""
    rig.standin.script(Answer.of(in_background(command)), Answer.of("started it"))
    await reader.link.send(prompt(turn_id, "go"))
    told = await reader.read_until(PermissionAsked, TurnDone)
    for asked in [item.event for item in told if isinstance(item.event, PermissionAsked)]:
        await reader.link.send(Decided(asked.request_id, "allow"))
        told += await reader.read_until(TurnDone)
    (began,) = [item.event for item in told if isinstance(item.event, TaskBegan)]
    assert (began.turn_id, began.title, began.background) == (turn_id, "work on", True)
    assert not [item for item in told if isinstance(item.event, TaskEnded)]
    return began.task_id


async def test_a_command_that_ends_wakes_it_and_the_person_is_asked(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        reader = await opened.reader()
        task_id = await leave_in_background(rig, reader, "t1", "sleep 2; echo x")
        rig.standin.script(Answer.of("woken ", bash("touch made.txt && echo yes")), Answer.of("done"))
        began = await reader.read_until(TurnBegan)
        ended = next(item.event for item in began if isinstance(item.event, TaskEnded))
        assert (ended.turn_id, ended.task_id, ended.state) == (None, task_id, "succeeded")
        own = began[-1].event.turn_id
        asked = await allow_next(reader)
        told = await reader.read_until(TurnDone)
        assert {item.event.turn_id for item in told} == {own} == {asked.turn_id}
        assert [item.event.output for item in told if isinstance(item.event, ToolEnded)] == ["yes"]
        assert (rig.workspace / "made.txt").exists()
        text = "".join(
            item.event.text
            for item in reader.events
            if isinstance(item.event, TextPiece) and item.event.turn_id == own
        )
        assert text == "woken done"
        assert text_of(await reader.turn("t2", "and now")) != text, "its words are not in the next answer"


async def test_what_it_does_by_itself_can_be_stopped(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        reader = await opened.reader()
        await leave_in_background(rig, reader, "t1", "sleep 1; echo x")
        asked = len(rig.standin.requests)
        rig.standin.script(Hang())
        began = await reader.read_until(TurnBegan)
        await until(lambda: len(rig.standin.requests) > asked)
        await reader.link.send(InterruptTurn(str(began[-1].event.turn_id)))
        told = await reader.read_until(TurnStopped)
        assert told[-1].event == TurnStopped(str(began[-1].event.turn_id))
        assert isinstance((await reader.turn("t2", "hello"))[-1].event, TurnDone)


async def test_a_command_in_the_background_is_stopped_and_wakes_nobody(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        reader = await opened.reader()
        task_id = await leave_in_background(rig, reader, "t1", "sleep 600; echo x")
        asked = len(rig.standin.requests)
        await reader.link.send(StopTask(task_id))
        (ended,) = [
            item.event for item in await reader.read_until(TaskEnded) if isinstance(item.event, TaskEnded)
        ]
        assert (ended.task_id, ended.state) == (task_id, "cancelled")
        assert isinstance((await reader.turn("t2", "hello"))[-1].event, TurnDone)
        assert len(rig.standin.requests) == asked + 1
        assert not [item for item in reader.events if isinstance(item.event, TurnBegan)]


async def test_a_dead_program_takes_its_background_with_it(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        reader = await opened.reader()
        task_id = await leave_in_background(rig, reader, "t1", "sleep 600; echo x")
        (pid,) = program_pids(rig.agent_session_id)
        os.kill(pid, signal.SIGKILL)
        told = await reader.read_until(TaskEnded)
        assert TaskEnded(None, task_id, "cancelled") in [item.event for item in told]
        assert isinstance((await reader.turn("t2", "hello"))[-1].event, TurnDone)
        assert rig.standin.requests[-1].user_texts[-1] == "hello"


async def test_what_it_schedules_is_a_task_that_goes_with_the_program(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        reader = await opened.reader()
        wakeup = {"delaySeconds": 600, "reason": "look again", "prompt": "look"}
        rig.standin.script(Answer.of(ToolUse("ScheduleWakeup", wakeup)), Answer.of("later"))
        await reader.link.send(prompt("t1", "go"))
        told = await reader.read_until(TurnDone)
        (began,) = [item.event for item in told if isinstance(item.event, TaskBegan)]
        assert (began.turn_id, began.agent_type, began.background) == ("t1", "timer", True)
        assert began.title.startswith("Continues at ")
        assert opened.hub.turns.is_busy
        await reader.link.send(StopTask(began.task_id))
        (ended,) = await reader.read_until(TaskEnded)
        assert ended.event == TaskEnded(None, began.task_id, "cancelled")
        await until(lambda: not program_pids(rig.agent_session_id))
        assert not opened.hub.turns.is_busy
