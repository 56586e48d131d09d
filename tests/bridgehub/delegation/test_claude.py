"""Delegation with the real Claude Code: to `echo`, to Claude itself, its questions, its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from bridgehub.delegation.mcp import CLAUDE_TOOL
from bridgehub.protocol.events import TaskBegan, TaskEnded, TaskProgressed, ToolEnded, TurnDone
from bridgehub.protocol.hub_spec import DelegateSpec
from bridgehub.protocol.messages import Decided
from bridgehub.protocol.process_tree import TASK_MARKER
from tests.standin.anthropic import standin_env
from tests.standin.replies import Answer, Hang, ToolUse
from tests.standin.requests import Seen
from tests.standin.rig import (
    SDK_DROPS_GENERATORS,
    Asked,
    ClaudeRig,
    RecordingSink,
    eventually,
    open_rig,
)

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

HELPER = "you are the helper"


def delegate(agent: str, task: str, context: str | None = None) -> ToolUse:
    more = {} if context is None else {"context": context}
    return ToolUse(CLAUDE_TOOL, {"agent": agent, "task": task, **more})


def from_helper(seen: Seen) -> bool:
    return any(HELPER in text for text in seen.user_texts)


def with_delegates(rig: ClaudeRig, **changes: Any) -> dict[str, Any]:
    env = standin_env(rig.standin.url, str(rig.home))
    delegates = {"echo": DelegateSpec("echo", {}, {}), "helper": DelegateSpec("claude", {}, env)}
    return {"delegates": delegates, **changes}


async def test_work_for_echo_comes_back_as_the_tools_result(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of("I ask ", delegate("echo", "say it back")), Answer.of("done"))
        end, sink = await rig.turn(rig.driver(**with_delegates(rig)), "one")
        assert isinstance(end, TurnDone)
        assert CLAUDE_TOOL in rig.standin.requests[0].tools
        assert sink.of(Asked) == []
        (began,), (ended,) = sink.of(TaskBegan), sink.of(TaskEnded)
        assert (began.title, began.agent_type, began.parent_task_id) == ("say it back", "echo", None)
        assert ended == TaskEnded(began.turn_id, began.task_id, "succeeded", "echo: say it back ")
        assert "".join(said.progress for said in sink.of(TaskProgressed)) == "echo: say it back "
        assert sink.text() == "I ask done"
        assert "echo: say it back" in rig.standin.requests[-1].tool_results[-1]
        assert [ended.is_error for ended in sink.of(ToolEnded)] == [False]


def marked() -> list[int]:
    """Return the ids of this process's descendants that belong to a delegate."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if TASK_MARKER in child.environ() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


async def test_claude_hands_work_to_claude(tmp_path: Path) -> None:
    """Its question rises, its words stay with the task, its program ends with it, and none of it costs the turn."""
    sink = RecordingSink(decide=lambda asked: Decided("r", "allow"))
    async with open_rig(tmp_path) as rig:
        bash = ToolUse("Bash", {"command": "touch made.txt", "description": "make it"})
        rig.standin.script(Answer.of("HELPED ", bash), Answer.of("it is made"), when=from_helper)
        call = delegate("helper", HELPER, "MARKER-context")
        rig.standin.script(Answer.of(call), Answer.of("done"), when=lambda seen: not from_helper(seen))
        driver = rig.driver(**with_delegates(rig))
        end, _ = await rig.turn(driver, "one", sink)
        assert isinstance(end, TurnDone)
        assert sink.text() == "done"
        assert [asked.tool for asked in sink.of(Asked)] == ["Bash"]
        assert (rig.workspace / "made.txt").exists()
        (ended,) = sink.of(TaskEnded)
        assert (ended.state, ended.result) == ("succeeded", "HELPED it is made")
        assert "HELPED it is made" in rig.standin.requests[-1].tool_results[-1]
        progress = [item.progress for item in sink.of(TaskProgressed)]
        assert progress[0] == "HELPED "
        assert any(line.startswith("Bash {") for line in progress)
        helper = next(seen for seen in rig.standin.requests if from_helper(seen))
        assert "MARKER-context" in helper.user_texts[-1]
        # `helper` may hand on to `echo` only.
        assert CLAUDE_TOOL in helper.tools
        (tool,) = [tool for tool in helper.body["tools"] if tool["name"] == CLAUDE_TOOL]
        assert tool["input_schema"]["properties"]["agent"]["enum"] == ["echo"]
        assert marked() == []
        end, second = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert second.of(TaskBegan) == []


async def test_an_interrupt_stops_the_delegate_in_mid_request(tmp_path: Path) -> None:
    sink = RecordingSink()
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Hang(), when=from_helper)
        rig.standin.script(Answer.of(delegate("helper", HELPER)), when=lambda seen: not from_helper(seen))
        driver = rig.driver(**with_delegates(rig))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            with trio.fail_after(30):
                await rig.standin.request(2)
            assert marked()
            with trio.fail_after(20):
                await driver.interrupt()
                await sink.until(lambda seen: bool(seen.of(TaskEnded)))
                await eventually(lambda: marked() == [])
        assert [ended.state for ended in sink.of(TaskEnded)] == ["cancelled"]
        end, second = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert second.text().startswith("standin: ")
        assert len([seen for seen in rig.standin.requests if from_helper(seen)]) == 1


async def test_a_delegate_whose_program_dies_fails_its_task_only(tmp_path: Path) -> None:
    sink = RecordingSink()
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Hang(), when=from_helper)
        call = Answer.of(delegate("helper", HELPER))
        rig.standin.script(call, Answer.of("alone then"), when=lambda seen: not from_helper(seen))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, rig.driver(**with_delegates(rig)), "one", sink)
            with trio.fail_after(30):
                await rig.standin.request(2)
            for pid in marked():
                psutil.Process(pid).kill()
        (ended,) = sink.of(TaskEnded)
        assert ended.state == "failed"
        assert ended.result is not None
        assert "agent_exited" in ended.result
        assert [item.is_error for item in sink.of(ToolEnded)] == [True]
        assert sink.text() == "alone then"


async def test_without_delegates_there_is_no_tool(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await rig.turn(rig.driver(**with_delegates(rig, max_tasks=0)), "one")
        assert CLAUDE_TOOL not in rig.standin.requests[0].tools


async def test_a_delegate_does_not_see_the_agents_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub's own environment is that of the session's agent, and the SDK puts it under its program's."""
    monkeypatch.setenv("ONLY_FOR_THE_FIRST", "open-sesame")
    show = ToolUse(
        "Bash", {"command": 'echo "[$ONLY_FOR_THE_FIRST] [$OF_THE_HELPER]"', "description": "show"}
    )
    sink = RecordingSink(decide=lambda asked: Decided("r", "allow"))
    async with open_rig(tmp_path) as rig:
        changes = with_delegates(rig)
        helper = changes["delegates"]["helper"]
        changes["delegates"]["helper"] = DelegateSpec("claude", {}, {**helper.env, "OF_THE_HELPER": "mine"})
        rig.standin.script(Answer.of(show), when=from_helper)
        rig.standin.script(Answer.of(delegate("helper", HELPER)), when=lambda seen: not from_helper(seen))
        end, _ = await rig.turn(rig.driver(**changes), "one", sink)
        assert isinstance(end, TurnDone)
        (ended,) = sink.of(TaskEnded)
        assert ended.result == "standin: the tool said [] [mine]"
