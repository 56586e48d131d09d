"""Delegation with the real Codex: its MCP server beside the program, the hub's socket, the result."""

from __future__ import annotations

from pathlib import Path

import trio

from bridgehub.delegation_mcp import SERVER
from bridgehub.delegation_stdio import TOOL
from bridgehub.protocol.messages import (
    DelegateSpec,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    ToolBegan,
    ToolEnded,
    TurnDone,
)
from tests.standin.openai_requests import SeenResponse
from tests.standin.openai_rig import CodexSink, open_codex_rig
from tests.standin.replies import Answer, ToolUse

NAMESPACE = f"mcp__{SERVER}"
CALL = ToolUse(f"{NAMESPACE}/{TOOL}", {"agent": "echo", "task": "say it back"})


def offered(seen: SeenResponse) -> bool:
    """Tell whether the model can find the tool: Codex names its server among the sources of `tool_search`."""
    return any(f"\n- {SERVER}\n" in str(tool.get("description")) for tool in seen.body["tools"])


async def test_echo_works_for_codex(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver(delegates={"echo": DelegateSpec("echo", {}, {})})
        for number in (1, 2):  # the second turn has the same program and server, and a new door
            rig.standin.script(Answer.of("I ask ", CALL), Answer.of("done"))
            end, sink = await rig.turn(driver, f"go {number}")
            assert isinstance(end, TurnDone)
            assert offered(rig.standin.requests[0])
            assert not sink.asked
            (began,), (ended,) = sink.of(TaskBegan), sink.of(TaskEnded)
            assert (began.turn_id, began.title, began.agent_type) == (
                f"turn-{number}",
                "say it back",
                "echo",
            )
            assert ended == TaskEnded(began.turn_id, began.task_id, "succeeded", "echo: say it back ")
            assert "".join(said.progress for said in sink.of(TaskProgressed)) == "echo: say it back "
            assert [item.name for item in sink.of(ToolBegan)] == [f"{NAMESPACE}__{TOOL}"]
            assert [item.is_error for item in sink.of(ToolEnded)] == [False]
            assert "echo: say it back" in rig.standin.requests[-1].tool_results[-1]
            assert sink.text() == "I ask done"


async def test_without_delegates_there_is_no_tool(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        await rig.turn(rig.driver(), "go")
        assert not offered(rig.standin.requests[0])


async def test_an_interrupt_ends_the_task(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(delegates={"echo": DelegateSpec("echo", {}, {})}), CodexSink()
        hang = ToolUse(f"{NAMESPACE}/{TOOL}", {"agent": "echo", "task": "/hang"})
        rig.standin.script(Answer.of(hang))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "go", sink)
            await sink.until(lambda seen: bool(seen.of(TaskBegan)))
            with trio.fail_after(2):
                await driver.interrupt()
                await sink.until(lambda seen: bool(seen.of(TaskEnded)))
        assert [ended.state for ended in sink.of(TaskEnded)] == ["cancelled"]
        end, _ = await rig.turn(driver, "and now")
        assert isinstance(end, TurnDone)
