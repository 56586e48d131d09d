"""The codex driver's tools and approvals, with the real program against the stand-in."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio

from bridgehub.agents.codex.driver import CodexDriver
from bridgehub.protocol.events import (
    PlanChanged,
    TaskBegan,
    TaskEnded,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
)
from tests.standin.openai import shell
from tests.standin.openai_replies import patch
from tests.standin.openai_rig import CodexRig, CodexSink, deciding, open_codex_rig
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import Asked, eventually

ADD = "*** Begin Patch\n*** Add File: poem.txt\n+roses\n+violets\n*** End Patch\n"
UPDATE = "*** Begin Patch\n*** Update File: poem.txt\n@@\n roses\n-violets\n+tulips\n*** End Patch\n"


async def test_an_allowed_command_runs_and_is_told_whole(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of("I will look.", shell("echo made > made; sleep 0.2; cat made")))
        end, sink = await rig.turn(rig.driver(), "go", deciding("allow"))
        assert isinstance(end, TurnDone)
        assert end.input_tokens == 22
        [began], [ended], [asked] = sink.of(ToolBegan), sink.of(ToolEnded), sink.asked
        assert began.name == ended.name == asked.tool == "shell"
        assert began.input["command"].endswith("'echo made > made; sleep 0.2; cat made'")
        assert began.input["cwd"] == str(rig.workspace)
        assert asked.tool_input["command"] == began.input["command"]
        assert sink.grants == [f"run {began.input['command']} in {rig.workspace}"]
        assert (ended.output, ended.is_error, ended.tool_id) == ("made\n", False, began.tool_id)
        assert ended.duration_ms is not None
        assert 150 <= ended.duration_ms < 10_000
        assert [type(event) for event in sink.events if not isinstance(event, TextPiece)][1:] == [
            ToolBegan,
            Asked,
            ToolEnded,
        ]
        assert (rig.workspace / "made").read_text() == "made\n"


async def test_a_refused_command_does_not_run_and_its_note_arrives(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(shell("touch made")))
        end, sink = await rig.turn(rig.driver(), "go", deciding("deny", note="use a branch"))
        assert isinstance(end, TurnDone)
        [ended] = sink.of(ToolEnded)
        assert (ended.output, ended.is_error) == ("declined", True)
        assert not (rig.workspace / "made").exists()
        assert "rejected by user" in rig.standin.requests[1].tool_results[0]
        assert rig.standin.requests[-1].user_texts[-1] == "I did not allow that: use a branch"


async def test_for_the_session_means_this_very_command(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        asked = []
        for command in ("touch a", "touch a", "touch b"):
            rig.standin.script(Answer.of(shell(command)))
            _, sink = await rig.turn(driver, "go", deciding("allow_session"))
            asked.append(len(sink.asked))
        assert asked == [1, 0, 1]


async def test_file_changes_are_told_with_their_diff(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        rig.standin.script(Answer.of(patch(ADD)))
        _, sink = await rig.turn(driver, "write", deciding("allow"))
        path = str(rig.workspace / "poem.txt")
        [began], [ended], [asked] = sink.of(ToolBegan), sink.of(ToolEnded), sink.asked
        [change] = began.input["changes"]
        assert (began.name, change["path"], change["kind"]) == ("apply_patch", path, "add")
        assert change["diff"] == "roses\nviolets\n"
        assert asked.tool_input["changes"] == [change]
        assert sink.grants == [f"change {path}"]
        assert (ended.output, ended.is_error) == ("completed", False)
        rig.standin.script(Answer.of(patch(UPDATE)))
        _, sink = await rig.turn(driver, "change", deciding("deny"))
        [began], [ended] = sink.of(ToolBegan), sink.of(ToolEnded)
        [change] = began.input["changes"]
        assert change["kind"] == "update"
        assert "-violets\n+tulips\n" in change["diff"]
        assert (ended.output, ended.is_error) == ("declined", True)
        assert (rig.workspace / "poem.txt").read_text() == "roses\nviolets\n"


async def test_without_questions_where_the_settings_say_so(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(patch(ADD), shell("exit 3")))
        end, sink = await rig.turn(rig.driver(permission_mode="acceptEdits"), "write", CodexSink())
        assert isinstance(end, TurnDone)
        assert not sink.asked
        assert {ended.output: ended.is_error for ended in sink.of(ToolEnded)} == {
            "completed": False,
            "[exit status 3]": True,
        }


async def test_the_sandbox_holds_in_plan_mode(tmp_path: Path) -> None:
    """Without bubblewrap Codex reports such a command to the model only; with it, as a tool that failed."""
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(shell("touch made")))
        _, sink = await rig.turn(rig.driver(permission_mode="plan"), "write", deciding("deny"))
        assert not (rig.workspace / "made").exists()
        assert all(ended.is_error for ended in sink.of(ToolEnded))
        assert "Read-only file system" in rig.standin.requests[-1].tool_results[0]


@pytest.mark.parametrize("decision", ["allow", "deny", "allow_session"])
async def test_a_tool_of_an_mcp_server_asks_too(tmp_path: Path, decision: str) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver(more=_mcp())
        greet = ToolUse("mcp__practice/greet", {"who": "Ada"})
        rig.standin.script(Answer.of(greet))
        _, sink = await rig.turn(driver, "greet", deciding(decision))
        [began], [ended], [asked] = sink.of(ToolBegan), sink.of(ToolEnded), sink.asked
        assert began.name == asked.tool == "mcp__practice__greet"
        assert began.input == asked.tool_input["arguments"] == {"who": "Ada"}
        assert sink.grants == ["use mcp__practice__greet"]
        assert ended.is_error == (decision == "deny")
        if decision != "deny":
            assert ended.output == "hello Ada"
            rig.standin.script(Answer.of(greet))
            _, sink = await rig.turn(driver, "again", deciding("allow"))
            assert len(sink.asked) == (decision == "allow")


def _mcp() -> str:
    program = str(Path(__file__).parent / "mcp_server.py")
    return f'\n[mcp_servers.practice]\ncommand = "{sys.executable}"\nargs = ["{program}"]\n'


async def test_a_long_output_is_kept_whole_beside_the_event(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        rig.standin.script(Answer.of(shell("seq 1 30000")))
        _, sink = await rig.turn(rig.driver(permission_mode="never"), "count", CodexSink())
        [ended] = sink.of(ToolEnded)
        whole = "".join(f"{n}\n" for n in range(1, 30001))
        assert whole.startswith(ended.output)
        assert len(ended.output.encode()) <= 64 * 1024
        name = hashlib.sha256(whole.encode()).hexdigest()
        assert ended.blob == {"size": len(whole), "sha256": name}
        assert (rig.home / "blobs" / name).read_text() == whole


async def test_an_interrupt_ends_the_command_and_what_it_started(tmp_path: Path) -> None:
    """Codex alone would leave it running in the background. What an earlier turn left there stays."""
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(permission_mode="bypassPermissions"), CodexSink()
        rig.standin.script(Answer.of(shell("setsid sleep 985 &")), Answer.of("It stays."))
        await rig.turn(driver, "first")
        [earlier] = _sleepers(rig)
        rig.standin.script(Answer.of(shell("(setsid sleep 986 &) ; sleep 987 & sleep 988")))
        ends = await _interrupted(
            rig, driver, sink, lambda: len(_sleepers(rig)) == 4 and bool(sink.of(ToolBegan))
        )
        assert isinstance(ends, TurnDone)
        await eventually(lambda: _sleepers(rig) == [earlier])
        [ended] = sink.of(ToolEnded)
        assert ended.is_error
        end, _ = await rig.turn(driver, "next")
        assert isinstance(end, TurnDone)


async def test_its_to_do_list_is_told(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        steps = [{"step": "one", "status": "completed"}, {"step": "two", "status": "in_progress"}]
        rig.standin.script(Answer.of(ToolUse("update_plan", {"plan": steps})), Answer.of("ok"))
        _, sink = await rig.turn(rig.driver(), "plan it")
        (told,) = sink.of(PlanChanged)
        assert told.entries == (
            {"content": "one", "status": "completed"},
            {"content": "two", "status": "in_progress"},
        )


async def test_an_interrupt_withdraws_the_question(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(), CodexSink()
        rig.standin.script(Answer.of(shell("touch made")))
        end = await _interrupted(rig, driver, sink, lambda: bool(sink.asked))
        assert isinstance(end, TurnDone)
        assert sink.withdrawn == 1
        assert not (rig.workspace / "made").exists()
        end, _ = await rig.turn(driver, "next")
        assert isinstance(end, TurnDone)


async def test_commands_in_the_background_are_tasks_that_end(
    tmp_path: Path,
) -> None:
    async with open_codex_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        driver, between = rig.driver(permission_mode="never"), CodexSink()
        long, short = (
            ToolUse("exec_command", {"cmd": cmd, "yield_time_ms": 250})
            for cmd in ("setsid sleep 986 & sleep 987", "while [ ! -e go ]; do sleep 0.1; done; echo went")
        )
        rig.standin.script(Answer.of(long, short))
        end, sink = await rig.turn(driver, "serve", CodexSink())
        assert isinstance(end, TurnDone)
        assert {(one.output, one.is_error) for one in sink.of(ToolEnded)} == {
            ("It continues in the background.", False)
        }
        begun = {one.title.split()[-1]: one for one in sink.of(TaskBegan)}
        assert all(one.background and one.turn_id == "turn-1" for one in begun.values())
        stays = next(one for one in begun.values() if "986" in one.title)
        ends = next(one for one in begun.values() if "went" in one.title)
        nursery.start_soon(driver.wait_own_work, between.emit)
        (rig.workspace / "go").touch()
        await between.until(lambda seen: bool(seen.of(TaskEnded)))
        assert between.of(TaskEnded) == [TaskEnded(None, ends.task_id, "succeeded", "went\n")]
        await rig.turn(driver, "next")
        assert len(_sleepers(rig)) == 2
        await driver.stop_task(stays.task_id, between.emit)
        assert between.of(TaskEnded)[1:] == [TaskEnded(None, stays.task_id, "cancelled")]
        await eventually(lambda: not _sleepers(rig))
        rig.standin.script(Answer.of(long))
        _, sink = await rig.turn(driver, "again", CodexSink())
        (last,) = sink.of(TaskBegan)
        for process in rig.programs():
            with suppress(psutil.NoSuchProcess):  # it went with another one
                process.kill()
        await between.until(lambda seen: len(seen.of(TaskEnded)) == 3)
        assert between.of(TaskEnded)[2] == TaskEnded(None, last.task_id, "cancelled")
        nursery.cancel_scope.cancel()


def _sleepers(rig: CodexRig) -> list[psutil.Process]:
    """Return the running `sleep 98…` in the rig's workspace."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() == "sleep" and process.cwd() == str(rig.workspace):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


async def _interrupted(
    rig: CodexRig, driver: CodexDriver, sink: CodexSink, moment: Callable[[], bool]
) -> object:
    ends: list[object] = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def run() -> None:
            ends.append((await rig.turn(driver, "run", sink))[0])

        await eventually(moment)
        with trio.fail_after(20):
            await driver.interrupt()
    return ends[0]
