"""The claude driver with the real program against the stand-in: text, context, interrupt, death."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
import trio

from bridgehub.agents.claude.start import ConversationRow
from bridgehub.protocol.events import Consumed, Noticed, TextPiece, ToolEnded, TurnDone, TurnFailed
from bridgehub.protocol.messages import Decided
from tests.standin.replies import Answer, Hang, Text, Thinking, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, RecordingSink, eventually, open_rig, program_pids

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


async def test_text_streams_in_order_and_is_told_once(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        gate = trio.Event()
        rig.standin.script(
            Answer.of(Thinking.of("let me ", "see"), Text.of("one ", "two ", gate, "thrée 🌳"), "four")
        )
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "hello", sink)
            await sink.until(lambda seen: seen.text() == "one two ")
            gate.set()
        assert isinstance(sink.events[0], Consumed)
        # What came at once may come as one piece; before the gate there was a pause.
        blocks = {(piece.channel, piece.block): "" for piece in sink.of(TextPiece)}
        for piece in sink.of(TextPiece):
            blocks[piece.channel, piece.block] += piece.text
        assert list(blocks.items()) == [
            (("thinking", "msg_standin_1:0"), "let me see"),
            (("text", "msg_standin_1:1"), "one two thrée 🌳"),
            (("text", "msg_standin_1:2"), "four"),
        ]
        assert "thrée 🌳" in [piece.text for piece in sink.of(TextPiece)]


async def test_context_lasts_over_turns_and_processes(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        first = rig.driver()
        one, _ = await rig.turn(first, "first words")
        two, _ = await rig.turn(first, "second words")
        await first.aclose()
        assert program_pids(rig.agent_session_id) == []
        three, sink = await rig.turn(rig.driver(), "third words")
        assert rig.standin.requests[2].user_texts == ("first words", "second words", "third words")
        assert not sink.of(Noticed)
        # 11 uncached and 5 cached tokens; the cost is that of the turn, though the program reports a sum over
        # its life, and unknown where it resumed, since that sum then begins nobody knows where.
        assert isinstance(one, TurnDone)
        assert one.cost_usd
        assert isinstance(two, TurnDone)
        assert two.cost_usd == pytest.approx(one.cost_usd)
        assert two == TurnDone("turn-2", 16, 7, 5, two.cost_usd, two.position)
        assert isinstance(three, TurnDone)
        assert three == TurnDone("turn-3", 16, 7, 5, None, three.position)
        assert len({str(end.position) for end in (one, two, three)}) == 3, "a fork may begin at each"


async def test_the_model_gets_what_it_gets_on_the_desktop(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        (rig.workspace / "CLAUDE.md").write_text("MARKER-WORKSPACE\n")
        (rig.home / ".claude").mkdir()
        (rig.home / ".claude" / "CLAUDE.md").write_text("MARKER-HOME\n")
        _, sink = await rig.turn(rig.driver(model="claude-haiku-4-5"), "hello")
        seen = rig.standin.requests[0]
        assert seen.markers == ("MARKER-HOME", "MARKER-WORKSPACE")
        assert len(seen.system) > 3000
        assert {"Bash", "Read", "Edit", "Write"} <= set(seen.tools)
        assert seen.model.startswith("claude-haiku-4-5")
        assert "MARKER-HOME MARKER-WORKSPACE" in sink.text()


async def test_consumed_comes_before_the_service_answers(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Hang())
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "hello", sink)
            await sink.until(lambda seen: bool(seen.of(Consumed)))
            await driver.interrupt()
        assert sink.events == [Consumed("turn-1")]


async def test_interrupt_ends_the_turn_and_the_next_works(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(Text.of("begun ", trio.Event(), "never")))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await sink.until(lambda seen: seen.text() == "begun ")
            with trio.fail_after(20):
                await driver.interrupt()
        assert sink.text() == "begun "
        pids = program_pids(rig.agent_session_id)
        end, after = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert "last: two" in after.text()
        assert program_pids(rig.agent_session_id) == pids


async def test_interrupt_stops_a_running_command(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(
            Answer.of(ToolUse("Bash", {"command": "echo $$ > pid; sleep 300", "description": "x"}))
        )
        driver, sink = rig.driver(permission_mode="bypassPermissions"), RecordingSink()
        pid_file = rig.workspace / "pid"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
            await driver.interrupt()
        assert [ended.is_error for ended in sink.of(ToolEnded)] == [True]
        pid = int(pid_file.read_text())
        await eventually(lambda: not psutil.pid_exists(pid))


async def test_an_interrupt_of_the_start_is_obeyed(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await eventually(lambda: bool(program_pids(rig.agent_session_id)))
            await driver.interrupt()
        assert sink.events == []
        assert rig.standin.requests == []
        _, after = await rig.turn(driver, "two")
        assert "1 user messages; last: two" in after.text()


async def test_a_cancelled_turn_leaves_no_program_that_goes_on(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(Text.of("begun ", trio.Event(), "never")))
        driver, sink = rig.driver(), RecordingSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "one", sink)
            await sink.until(lambda seen: seen.text() == "begun ")
            nursery.cancel_scope.cancel()
        with trio.fail_after(20), trio.CancelScope() as cancelled:
            cancelled.cancel()  # as in a hub that is being stopped
            await driver.aclose()
        assert program_pids(rig.agent_session_id) == []


async def test_a_killed_program_ends_the_turn_and_the_next_resumes(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "one")
        rig.standin.script(Answer.of(Text.of("begun ", trio.Event(), "never")))
        sink, ends = RecordingSink(), []

        async def second() -> None:
            ends.append((await rig.turn(driver, "two", sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            await sink.until(lambda seen: seen.text() == "begun ")
            (pid,) = program_pids(rig.agent_session_id)
            os.kill(pid, signal.SIGKILL)
        assert ends == [TurnFailed("turn-2", "agent_exited", "Claude Code ended with exit status -9.", True)]
        end, after = await rig.turn(driver, "three")
        assert isinstance(end, TurnDone)
        assert not after.of(Noticed)
        assert rig.standin.requests[-1].user_texts[0] == "one"


async def test_a_program_killed_while_idle_is_started_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "one")
        (pid,) = program_pids(rig.agent_session_id)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not psutil.pid_exists(pid))
        end, after = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert "2 user messages; last: two" in after.text()


def test_the_newest_conversation_is_found_without_older_ones(tmp_path: Path) -> None:
    row = ConversationRow.of("2f0b6a52-7c1c-4b1e-9d57-0a8f3a3f1c11")
    assert row.newest({"HOME": str(tmp_path)}) is None
    for place in (3, 1):
        folder = tmp_path / ".claude" / "projects" / f"folder-{place}"
        folder.mkdir(parents=True)
        (folder / f"{row.ids[place]}.jsonl").touch()
    assert row.newest({"HOME": str(tmp_path)}) == 3
    assert row.newest({"HOME": "/nowhere", "CLAUDE_CONFIG_DIR": str(tmp_path / ".claude")}) == 3
    assert len(set(row.ids)) == len(row.ids)


async def test_a_local_command_is_answered_once_without_the_service(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "/cost")
        assert isinstance(end, TurnDone)
        assert len(sink.of(TextPiece)) == 1
        assert len(sink.of(Consumed)) == 1
        assert rig.standin.requests == []


async def test_a_cleared_conversation_stays_cleared(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        first = rig.driver()
        await rig.turn(first, "one")
        _, cleared = await rig.turn(first, "/clear")
        assert [notice.code for notice in cleared.of(Noticed)] == ["context_cleared"]
        _, sink = await rig.turn(first, "two")
        assert not sink.of(Noticed)
        await first.aclose()
        _, sink = await rig.turn(rig.driver(), "three")
        assert not sink.of(Noticed)
        assert rig.standin.requests[-1].user_texts == ("two", "three")


async def test_work_between_two_turns_comes_with_the_second(tmp_path: Path) -> None:
    """A shell in the background wakes the program, and nobody is there to allow what it then wants.

    The second turn still ends with its own prompt's answer.
    """
    async with open_rig(tmp_path) as rig:
        wait = {"command": "until [ -e go ]; do sleep 0.02; done", "run_in_background": True}
        rig.standin.script(
            Answer.of(ToolUse("Bash", wait | {"description": "wait"})),
            Answer.of("it runs. "),
            Answer.of("it is done. ", ToolUse("Bash", {"command": "touch made", "description": "x"})),
            Answer.of("not allowed. "),
            Answer.of("you said two"),
        )
        driver = rig.driver()
        allowing = RecordingSink(decide=lambda asked: Decided("r", "allow"))
        end, first = await rig.turn(driver, "one", allowing)
        assert isinstance(end, TurnDone)
        assert first.text() == "it runs. "
        (rig.workspace / "go").touch()
        with trio.fail_after(40):
            woken = await rig.standin.request(4)
        assert "between two turns" in woken.tool_results[-1]
        assert not (rig.workspace / "made").exists()
        end, second = await rig.turn(driver, "two")
        assert isinstance(end, TurnDone)
        assert second.text() == "it is done. not allowed. you said two"
