"""The claude driver with the real program: tools, permission, questions, sub-agents."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from bridgehub.protocol.events import (
    Consumed,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
)
from bridgehub.protocol.limits import MAX_ID_CHARS
from bridgehub.protocol.messages import Decided
from tests.bridgehub.claude_hub import open_claude_hub
from tests.standin.replies import Answer, Text, ToolUse
from tests.standin.requests import Seen
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, RecordingSink, open_rig, program_pids

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

QUESTION = {
    "question": "Which colour?",
    "header": "Colour",
    "multiSelect": False,
    "options": [{"label": "Blue", "description": "calm"}, {"label": "Red", "description": "loud"}],
}


def bash(command: str) -> ToolUse:
    return ToolUse("Bash", {"command": command, "description": "try it"})


def answering(decided: Decided) -> RecordingSink:
    return RecordingSink(decide=lambda asked: decided)


async def test_a_person_decides_about_a_command(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()

        rig.standin.script(Answer.of("let me ", bash("touch made.txt && echo yes")), Answer.of("done"))
        end, allowed = await rig.turn(driver, "one", answering(Decided("r", "allow")))
        assert isinstance(end, TurnDone)
        kinds = [type(event) for event in allowed.events]
        assert kinds == [Consumed, TextPiece, ToolBegan, Asked, ToolEnded, TextPiece]
        began, asked, ended = allowed.of(ToolBegan)[0], allowed.of(Asked)[0], allowed.of(ToolEnded)[0]
        assert (began.name, began.parent_tool_id, began.blob) == ("Bash", None, None)
        assert asked.tool == "Bash"
        assert asked.tool_input == began.input
        assert asked.tool_input["command"] == "touch made.txt && echo yes"
        assert asked.questions is None
        assert (ended.tool_id, ended.name, ended.output) == (began.tool_id, "Bash", "yes")
        assert not ended.is_error
        assert ended.duration_ms is not None
        assert (rig.workspace / "made.txt").exists()

        rig.standin.script(Answer.of(bash("rm made.txt")), Answer.of("as you wish"))
        end, denied = await rig.turn(driver, "two", answering(Decided("r", "deny", note="I still need it")))
        assert isinstance(end, TurnDone)
        assert [ended.is_error for ended in denied.of(ToolEnded)] == [True]
        assert (rig.workspace / "made.txt").exists()
        assert "I still need it" in rig.standin.requests[-1].tool_results[-1]


async def test_a_command_is_changed_before_it_is_allowed(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(bash("touch asked.txt && echo yes")), Answer.of("done"))
        decided = Decided("r", "allow", input={"command": "touch changed.txt && echo yes"})
        end, sink = await rig.turn(rig.driver(), "one", answering(decided))
        assert isinstance(end, TurnDone)
        (asked,) = sink.of(Asked)
        assert asked.words is not None
        assert (asked.words.kind, asked.words.editable) == ("command", ("command",))
        assert asked.words.title == "Run touch asked.txt && echo yes"
        assert not (rig.workspace / "asked.txt").exists()
        assert (rig.workspace / "changed.txt").exists()


async def test_a_question_to_the_person_and_its_answer(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(
            Answer.of(ToolUse("AskUserQuestion", {"questions": [QUESTION]})), Answer.of("blue then")
        )
        decided = Decided("r", "allow", answers={"Which colour?": "Blue"})
        end, sink = await rig.turn(rig.driver(), "paint", answering(decided))
        assert isinstance(end, TurnDone)
        (asked,) = sink.of(Asked)
        assert [question["question"] for question in asked.questions] == ["Which colour?"]
        assert '"Which colour?"="Blue"' in rig.standin.requests[-1].tool_results[-1]


async def test_an_interrupt_withdraws_the_question(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(bash("touch made.txt")))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await sink.until(lambda seen: bool(seen.of(Asked)))
            await driver.interrupt()
        assert sink.withdrawn == 1
        assert not (rig.workspace / "made.txt").exists()
        end, _ = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)


async def test_a_program_killed_while_it_asks_ends_the_turn(tmp_path: Path) -> None:
    """The SDK answers questions in tasks of its own; none of them may take the hub down with it."""
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(bash("touch made.txt")))
        driver, sink, ends = rig.driver(), RecordingSink(), []

        async def run() -> None:
            ends.append((await rig.turn(driver, "one", sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sink.until(lambda seen: bool(seen.of(Asked)))
            (pid,) = program_pids(rig.agent_session_id)
            os.kill(pid, signal.SIGKILL)
        assert [getattr(end, "code", None) for end in ends] == ["agent_exited"]
        assert sink.withdrawn == 1
        end, _ = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)


async def test_a_cancelled_turn_withdraws_its_question(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(bash("touch made.txt")))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await sink.until(lambda seen: bool(seen.of(Asked)))
            nursery.cancel_scope.cancel()
        assert sink.withdrawn == 1
        with trio.fail_after(40):
            await driver.aclose()
            await driver.aclose()
        assert not (rig.workspace / "made.txt").exists()


async def test_permission_modes_of_session_and_table(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        free = rig.driver(permission_mode="bypassPermissions", options={"permission_mode": "plan"})
        rig.standin.script(Answer.of(bash("touch made.txt")), Answer.of("done"))
        _, sink = await rig.turn(free, "one")
        assert not sink.of(Asked)
        assert (rig.workspace / "made.txt").exists()


async def test_a_sub_agent_is_a_task_of_the_turn_that_began_it(tmp_path: Path) -> None:
    """It runs on after the program's first result; the turn ends with what the program makes of its work."""

    def is_sub(seen: Seen) -> bool:
        return "COUNT-THEM" in seen.user_texts[0]

    async with open_rig(tmp_path) as rig:
        gate = trio.Event()
        call = {"description": "Count things", "prompt": "COUNT-THEM", "subagent_type": "general-purpose"}
        rig.standin.script(
            Answer.of("counting ", bash("touch counted.txt && echo 3"), Text.of(gate)),
            Answer.of("there are three"),
            when=is_sub,
        )
        rig.standin.script(
            Answer.of(ToolUse("Agent", call)),
            Answer.of("I wait. "),
            Answer.of("It found three."),
            when=lambda seen: not is_sub(seen),
        )
        driver, sink = rig.driver(), answering(Decided("r", "allow"))
        ends = []

        async def run() -> None:
            ends.append((await rig.turn(driver, "count", sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sink.until(lambda seen: "I wait. " in seen.text())
            gate.set()
        (end,) = ends
        assert isinstance(end, TurnDone)
        assert sink.text() == "I wait. It found three."
        (began,), (ended,) = sink.of(TaskBegan), sink.of(TaskEnded)
        assert (began.title, began.agent_type, began.parent_task_id) == (
            "Count things",
            "general-purpose",
            None,
        )
        assert (ended.task_id, ended.state, ended.result) == (began.task_id, "succeeded", "there are three")
        progress = sink.of(TaskProgressed)
        assert {event.task_id for event in progress} == {began.task_id}
        assert "counting " in [event.progress for event in progress]
        outer, inner = sink.of(ToolBegan)
        assert (outer.name, inner.name, inner.parent_tool_id) == ("Agent", "Bash", outer.tool_id)
        assert [(asked.tool, asked.task_id) for asked in sink.of(Asked)] == [("Bash", began.task_id)]
        # Five answers of the service with 16 tokens each; those of the sub-agent are not in the usage.
        assert end.input_tokens == 3 * 16


async def test_an_interrupt_ends_the_sub_agents_too(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        call = {"description": "Wait", "prompt": "WAIT-HERE", "subagent_type": "general-purpose"}
        rig.standin.script(
            Answer.of(Text.of("waiting", trio.Event())), when=lambda seen: seen.user_texts[0] == "WAIT-HERE"
        )
        rig.standin.script(Answer.of(ToolUse("Agent", call)), Answer.of("I wait. "))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await sink.until(lambda seen: "I wait. " in seen.text())
            await rig.standin.request(3)
            await driver.interrupt()
        assert [ended.state for ended in sink.of(TaskEnded)] == ["cancelled"]
        end, after = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert "last: two" in after.text()


@pytest.mark.parametrize("length", [1005, 4600])
async def test_a_tool_call_with_a_very_long_id_is_a_tool_call(tmp_path: Path, length: int) -> None:
    async with open_rig(tmp_path) as rig, open_claude_hub(rig, tmp_path) as opened:
        call = ToolUse("Bash", {"command": "echo yes", "description": "try it"}, "toolu_" + "i" * length)
        rig.standin.script(Answer.of(call), Answer.of("done"))
        told = [item.event for item in await (await opened.reader()).turn("t1", "one")]
        began = next(event for event in told if isinstance(event, ToolBegan))
        ended = next(event for event in told if isinstance(event, ToolEnded))
        assert isinstance(told[-1], TurnDone)
        assert began.tool_id == ended.tool_id
        assert len(began.tool_id) <= MAX_ID_CHARS
        assert "yes" in ended.output
