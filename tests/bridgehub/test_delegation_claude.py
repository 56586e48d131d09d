"""Delegation with the real Claude Code: to `echo`, to Claude itself, its questions, its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridgehub.delegation_mcp import CLAUDE_TOOL
from bridgehub.protocol.messages import (
    DelegateSpec,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    ToolEnded,
    TurnDone,
)
from tests.standin.anthropic import standin_env
from tests.standin.replies import Answer, ToolUse
from tests.standin.requests import Seen
from tests.standin.rig import (
    SDK_DROPS_GENERATORS,
    Asked,
    ClaudeRig,
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
