"""Delegation between the real Codex and the real Claude Code, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bridgehub.delegation.mcp import CLAUDE_TOOL
from bridgehub.protocol.events import TaskBegan, TaskEnded, TaskProgressed, ToolEnded, TurnDone
from bridgehub.protocol.hub_spec import DelegateSpec
from bridgehub.protocol.messages import Decided
from tests.bridgehub.delegation.test_claude import marked
from tests.standin.anthropic import open_standin, standin_env
from tests.standin.openai import codex_env, open_openai
from tests.standin.openai_rig import CodexSink, open_codex_rig
from tests.standin.replies import Answer, Hang, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, RecordingSink, eventually, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

CODEX_TOOL = "mcp__builderos/delegate"


def to_claude(task: str) -> Answer:
    return Answer.of(ToolUse(CODEX_TOOL, {"agent": "claude", "task": task}))


async def test_codex_delegates_and_an_interrupt_stops_it(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig, open_standin() as claude:
        env = standin_env(claude.url, str(rig.home))
        delegates = {"echo": DelegateSpec("echo", {}, {}), "claude": DelegateSpec("claude", {}, env)}
        driver = rig.driver(delegates=delegates)
        to_echo = Answer.of(ToolUse(CODEX_TOOL, {"agent": "echo", "task": "say it"}))
        rig.standin.script(to_echo, to_claude("words 3"), Answer.of("done"))
        end, sink = await rig.turn(driver, "one")
        assert isinstance(end, TurnDone)
        assert "mcp__builderos" in rig.standin.requests[0].tools, "seen without a search"
        assert sink.of(Asked) == []
        assert [ended.result for ended in sink.of(TaskEnded)] == ["echo: say it ", "w0 w1 w2 "]
        assert [ended.is_error for ended in sink.of(ToolEnded)] == [False, False]
        assert sink.text() == "done"

        claude.script(Hang())
        rig.standin.script(to_claude("never ends"))
        second = CodexSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "two", second)
            with trio.fail_after(30):
                await claude.request(2)
            with trio.fail_after(20):
                await driver.interrupt()
                await second.until(lambda seen: bool(seen.of(TaskEnded)))
                await eventually(lambda: marked() == [])
        assert [ended.state for ended in second.of(TaskEnded)] == ["cancelled"]


async def test_claude_hands_work_to_codex_which_hands_on_to_echo(tmp_path: Path) -> None:
    sink = RecordingSink(decide=lambda asked: Decided("r", "allow"))
    async with open_rig(tmp_path) as rig, open_openai() as codex:
        env = codex_env(codex.url, str(rig.home))
        delegates = {
            "echo": DelegateSpec("echo", {}, {}),
            "codex": DelegateSpec("codex", {"approval": "untrusted", "sandbox": "workspace-write"}, env),
        }
        driver = rig.driver(delegates=delegates, blob_folder=str(tmp_path))
        call = Answer.of(ToolUse(CLAUDE_TOOL, {"agent": "codex", "task": "bash touch made.txt"}))
        rig.standin.script(call, Answer.of("done"))
        end, _ = await rig.turn(driver, "one", sink)
        assert isinstance(end, TurnDone)
        assert len(sink.of(Asked)) == 1
        assert (rig.workspace / "made.txt").exists()
        assert [ended.state for ended in sink.of(TaskEnded)] == ["succeeded"]

        codex.script(
            Answer.of(ToolUse(CODEX_TOOL, {"agent": "echo", "task": "deep"})), Answer.of("from codex")
        )
        call = Answer.of(ToolUse(CLAUDE_TOOL, {"agent": "codex", "task": "go on"}))
        rig.standin.script(call, Answer.of("done"))
        end, sink = await rig.turn(driver, "two")
        outer, inner = sink.of(TaskBegan)
        assert (inner.agent_type, inner.parent_task_id) == ("echo", outer.task_id)
        assert [ended.result for ended in sink.of(TaskEnded)] == ["echo: deep ", "from codex"]
        assert sink.of(TaskProgressed)
        assert sink.text() == "done"
        assert marked() == []
