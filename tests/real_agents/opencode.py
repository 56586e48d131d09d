"""The real opencode, from `make test-agents`: a day's work, on a stand-in of its model service."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import psutil
import trio

from bridgehub.agents.acp.desk import memory_of, open_desk
from bridgehub.delegation.stdio_server import SERVER, TOOL
from bridgehub.protocol.events import (
    AgentOffered,
    Noticed,
    SettingsTold,
    TaskEnded,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
    TurnFailed,
)
from bridgehub.protocol.hub_spec import DelegateSpec, Setup
from tests.real_agents.rig import OPENCODE, open_opencode
from tests.standin.acp_rig import AcpSink, deciding
from tests.standin.replies import Answer, Hang, ToolUse
from tests.standin.rig import eventually


def write(path: Path) -> ToolUse:
    return ToolUse("write", {"filePath": str(path), "content": "hello\n"})


async def test_a_turn_with_a_tool_a_question_and_a_diff(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        path = rig.workspace / "a.txt"
        standin.script(Answer.of(write(path)), Answer.of("done"))
        end, sink = await rig.turn(rig.driver(), "write it", deciding("allow"))
        assert end == TurnDone("turn-1", 11, 7, 5)
        assert sink.text() == "done"
        (asked,), (began,), (ended,) = sink.asked, sink.of(ToolBegan), sink.of(ToolEnded)
        assert asked.words is not None
        assert (asked.words.kind, asked.words.title) == ("edit", "Edit a.txt")
        assert asked.words.options == ("allow", "deny", "allow_session")
        assert asked.words.diff[0]["patch"].endswith("+hello\n")
        assert (began.name, ended.is_error) == ("edit", False)
        assert path.read_text() == "hello\n"


async def test_mode_and_model_are_changed_between_two_turns(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        driver = rig.driver()
        _, sink = await rig.turn(driver, "hello")
        offered = sink.newest[AgentOffered]
        assert isinstance(offered, AgentOffered)
        assert {one["id"]: one["kind"] for one in offered.offer["modes"]} == {"build": "ask", "plan": "plan"}
        setup = Setup(model="standin/large", permission_mode="plan")
        _, after = await rig.turn(driver, "plan it", setup=setup)
        assert after.of(SettingsTold) == []
        assert standin.requests[-1].model == "large"
        assert "plan mode" in json.dumps(standin.requests[-1].body).lower()


async def test_an_interrupt_ends_the_turn_and_the_next_one_works(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        driver = rig.driver()
        await rig.turn(driver, "hello")
        standin.script(Hang())
        count, ends = len(standin.requests), []

        async def run() -> None:
            ends.append((await rig.turn(driver, "hang"))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await eventually(lambda: len(standin.requests) > count)
            await driver.interrupt()
        assert isinstance(ends[0], TurnDone)
        end, _ = await rig.turn(driver, "hello again")
        assert isinstance(end, TurnDone)


async def test_context_outlives_the_program_and_a_kill_in_mid_turn(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        first = rig.driver()
        _, sink = await rig.turn(first, "MARKER-ONE")
        await first.aclose()
        later = rig.driver(agent_memory=sink.memory)
        _, again = await rig.turn(later, "MARKER-TWO")
        assert "MARKER-ONE" in standin.requests[-1].markers
        assert again.text().count("standin: ") == 1
        assert again.of(Noticed) == []

        standin.script(Answer.of(write(rig.workspace / "a.txt")))
        waiting, ends = AcpSink(), []

        async def run() -> None:
            ends.append((await rig.turn(later, "write it", waiting))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await waiting.until(lambda seen: bool(waiting.asked), rig.limit_s)
            for child in psutil.Process().children(recursive=True):
                child.kill()
        (end,) = ends
        assert isinstance(end, TurnFailed)
        assert end.code == "agent_exited"
        end, _ = await rig.turn(later, "go on")
        assert isinstance(end, TurnDone)
        assert {"MARKER-ONE", "MARKER-TWO"} <= set(standin.requests[-1].markers)


async def test_a_session_of_its_own_terminal_is_read_and_gone_on_with(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        standin.script(Answer.of("I look. ", ToolUse("read", {"filePath": str(rig.workspace)})))
        standin.script(Answer.of("MARKER-ANSWER"))
        with trio.fail_after(rig.limit_s):
            command = [str(OPENCODE), "run", "MARKER-DESK"]
            await trio.run_process(command, env=rig.env, cwd=rig.workspace, capture_stdout=True)
        async with open_desk(rig.driver().spec, "desk") as desk:
            (listed,) = await desk.conversations(str(rig.workspace))
            replay = await desk.turns(listed)
        assert listed.title
        assert datetime.fromisoformat(listed.last_activity).tzinfo is not None
        assert replay is not None
        (turn,) = replay.turns
        assert "MARKER-DESK" in turn.said
        assert [one.name for one in turn.events if isinstance(one, ToolBegan)] == ["read"]
        text = "".join(one.text for one in turn.events if isinstance(one, TextPiece))
        assert text == "I look. MARKER-ANSWER"
        end, sink = await rig.turn(rig.driver(agent_memory=memory_of(listed.native_id)), "MARKER-PHONE")
        assert isinstance(end, TurnDone)
        assert sink.of(Noticed) == []
        assert {"MARKER-DESK", "MARKER-PHONE"} <= set(standin.requests[-1].markers)


async def test_it_hands_work_to_another_agent(tmp_path: Path) -> None:
    async with open_opencode(tmp_path) as (rig, standin):
        standin.script(
            Answer.of(ToolUse(f"{SERVER}_{TOOL}", {"agent": "echo", "task": "hello echo"})), Answer.of("done")
        )
        driver = rig.driver(delegates={"echo": DelegateSpec("echo", {}, {})})
        end, sink = await rig.turn(driver, "hand it on", deciding("allow"))
        assert isinstance(end, TurnDone)
        assert [task.state for task in sink.of(TaskEnded)] == ["succeeded"]
        assert "echo: hello echo" in str(sink.of(TaskEnded)[0].result)
