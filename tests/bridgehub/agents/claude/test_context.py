"""What reaches the model beside the prompt, with the real program: files, edited settings, what was said before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from bridgehub.agents.claude.memory import MAX_FOLDERS, Memory
from bridgehub.agents.claude.prompt import MAX_IMAGE_BYTES, history_text, make_content
from bridgehub.agents.claude.settings import read_stamp
from bridgehub.protocol.events import Noticed, ToolEnded, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided, History, PastMessage, Prompt
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, ClaudeRig, RecordingSink, open_rig, program_pids

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def attached(path: Path, filename: str) -> dict[str, Any]:
    return {"path": str(path), "filename": filename, "mime_type": "text/plain", "size": path.stat().st_size}


def reading(path: Path) -> ToolUse:
    return ToolUse("Read", {"file_path": str(path)})


def denying() -> RecordingSink:
    return RecordingSink(decide=lambda asked: Decided("r", "deny"))


async def test_attached_files_reach_the_model_and_are_read_unasked(tmp_path: Path) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for name in ("1-notes.txt", "2-other.txt"):
        (uploads / name).write_text(f"inside {name}\n")
    (uploads / "3.png").write_bytes(PNG)
    async with open_rig(tmp_path) as rig:
        driver, sink = rig.driver(), denying()
        files = (attached(uploads / "1-notes.txt", "notes.txt"), attached(uploads / "3.png", "shot.png"))
        rig.standin.script(Answer.of(reading(uploads / "1-notes.txt")), Answer.of("done"))
        with trio.fail_after(40):
            await driver.run_turn(rig.prompt("read them", attachments=files), sink)
        first = rig.standin.requests[0]
        assert first.images == (("image/png", PNG),)
        assert first.user_texts[0].rstrip() == (
            f"read them\n\nAttached files:\n- notes.txt: {uploads}/1-notes.txt\n- shot.png: {uploads}/3.png"
        )
        assert sink.of(Asked) == []
        assert "inside 1-notes.txt" in sink.of(ToolEnded)[0].output
        assert sink.memory == {"is_cleared": False, "folders": [str(uploads)]}
        await driver.aclose()

        # A later hub still lets it read there, and write no more than before.
        write = ToolUse("Write", {"file_path": str(uploads / "new.txt"), "content": "x"})
        rig.standin.script(Answer.of(reading(uploads / "2-other.txt")), Answer.of(write), Answer.of("done"))
        _, later = await rig.turn(rig.driver(agent_memory=sink.memory), "and the other", denying())
        assert "inside 2-other.txt" in later.of(ToolEnded)[0].output
        assert [asked.tool for asked in later.of(Asked)] == ["Write"]
        assert not (uploads / "new.txt").exists()


async def test_images_that_the_service_would_refuse_are_only_named(tmp_path: Path) -> None:
    (tmp_path / "big.png").write_bytes(PNG + bytes(MAX_IMAGE_BYTES))
    (tmp_path / "no.png").write_text("no image at all")
    files = [{"path": str(tmp_path / name)} for name in ("big.png", "no.png", "gone.png")]
    content = await make_content("look", files)
    assert content == "\n".join(
        [
            "look",
            "",
            "Attached files:",
            *(f"- {n['path'][len(str(tmp_path)) + 1 :]}: {n['path']}" for n in files),
        ]
    )


async def lose_transcript(rig: ClaudeRig) -> None:
    driver = rig.driver()
    await rig.turn(driver, "one")
    await driver.aclose()
    for transcript in rig.home.glob(".claude/projects/*/*.jsonl"):
        transcript.unlink()


class NoHistory(RecordingSink):
    """Of a server that is away."""

    async def history(self, limit_bytes: int) -> History:
        await super().emit(Noticed("", "asked", ""))
        await trio.sleep_forever()
        raise AssertionError("never")


async def test_a_lost_conversation_is_given_again(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        await lose_transcript(rig)
        said = History("", (PastMessage("user", "one"), PastMessage("assistant", "I said MARKER-EARLIER")), 3)
        driver = rig.driver()

        _, command = await rig.turn(driver, "/cost", RecordingSink(past=said))
        assert command.wanted_bytes == 0, "a command of the program is no place for it"
        away = NoHistory()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "stopped", away)
            await away.until(lambda seen: bool(seen.events))
            await driver.interrupt()
        end, sink = await rig.turn(driver, "two", RecordingSink(past=said))
        assert isinstance(end, TurnDone)
        (notice,) = sink.of(Noticed)
        assert notice.code == "context_given_again"
        assert "3 oldest" in notice.content
        seen = rig.standin.requests[-1]
        assert seen.markers == ("MARKER-EARLIER",)
        assert seen.user_texts == ("two",)

        _, sink = await rig.turn(driver, "three", RecordingSink(past=said))
        assert (sink.of(Noticed), sink.wanted_bytes) == ([], 0)
        await driver.aclose()
        _, sink = await rig.turn(rig.driver(), "four", RecordingSink(past=said))
        assert (sink.of(Noticed), sink.wanted_bytes) == ([], 0)
        assert rig.standin.requests[-1].user_texts == ("two", "three", "four")
        assert rig.standin.requests[-1].markers == ("MARKER-EARLIER",)


async def test_a_spoilt_conversation_begins_anew_and_says_so(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        first = rig.driver()
        await rig.turn(first, "one")
        await first.aclose()
        (transcript,) = rig.home.glob(f".claude/projects/*/{rig.agent_session_id}.jsonl")
        transcript.write_text('{"type":"nothing that it knows"}\n')
        second = rig.driver()
        end, sink = await rig.turn(second, "two")
        assert isinstance(end, TurnDone)
        assert [notice.code for notice in sink.of(Noticed)] == ["context_lost"], "no history, nothing to give"
        await second.aclose()
        # The new conversation has an id that a later hub finds.
        _, third = await rig.turn(rig.driver(), "three")
        assert not third.of(Noticed)
        assert rig.standin.requests[-1].user_texts == ("two", "three")


@pytest.mark.parametrize("why", ["crashes", "hangs"])
async def test_a_conversation_that_cannot_resume_now_stays(tmp_path: Path, why: str) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n" + ("echo no memory >&2; exit 7\n" if why == "crashes" else "sleep 60\n"))
    program.chmod(0o755)
    async with open_rig(tmp_path) as rig:
        first = rig.driver()
        await rig.turn(first, "one")
        await first.aclose()
        past = History("", (PastMessage("user", "one"),), 0)
        for _ in range(2):
            driver = rig.driver(options={"cli_path": str(program)}, start_s=2.0)
            end, failed = await rig.turn(driver, "lost?", RecordingSink(past=past))
            assert isinstance(end, TurnFailed)
            assert (end.code, end.retryable) == ("agent_exited", True)
            assert ("no memory" in end.content) == (why == "crashes")
            assert (failed.of(Noticed), failed.wanted_bytes) == ([], 0)
        end, again = await rig.turn(rig.driver(), "two")
        assert isinstance(end, TurnDone)
        assert rig.standin.requests[-1].user_texts == ("one", "two")
        assert again.of(Noticed) == []


async def test_edited_settings_count_from_the_next_turn(tmp_path: Path) -> None:
    """A warm program notices no edit by itself."""
    async with open_rig(tmp_path) as rig:
        instructions = [rig.workspace / "CLAUDE.md", rig.home / ".claude" / "CLAUDE.md"]
        instructions[1].parent.mkdir()
        for number, path in enumerate(instructions):
            path.write_text(f"MARKER-OLD-{number}\n")
        driver = rig.driver(trusted_folders=(str(rig.workspace),))
        await driver.warm_up(Prompt("", "", "", 0, setup=Setup()), RecordingSink())
        assert rig.standin.requests == []
        pids = program_pids(rig.agent_session_id)
        await rig.turn(driver, "one")
        await rig.turn(driver, "two")
        assert program_pids(rig.agent_session_id) == pids, "nothing was edited"
        assert rig.standin.requests[-1].markers == ("MARKER-OLD-0", "MARKER-OLD-1")

        for number, path in enumerate(instructions):
            path.write_text(f"MARKER-NEW-{number}\n")
        (rig.workspace / ".claude").mkdir()
        allowed = {"permissions": {"allow": ["Bash(python3 --version)"]}}
        (rig.workspace / ".claude" / "settings.json").write_text(json.dumps(allowed))
        command = {"command": "python3 --version", "description": "x"}
        rig.standin.script(Answer.of(ToolUse("Bash", command)), Answer.of("done"))
        _, sink = await rig.turn(driver, "three", denying())
        assert {"MARKER-NEW-0", "MARKER-NEW-1"} <= set(rig.standin.requests[-1].markers)
        assert rig.standin.requests[-1].user_texts == ("one", "two", "three")
        assert sink.of(Asked) == []
        assert sink.of(ToolEnded)[0].output.startswith("Python 3")
        assert sink.of(Noticed) == []


async def test_a_cleared_conversation_stays_cleared_in_the_next_hub(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        first = rig.driver()
        await rig.turn(first, "one")
        _, cleared = await rig.turn(first, "/clear")
        assert cleared.memory["is_cleared"]
        await first.aclose()
        second = rig.driver(agent_memory=cleared.memory)
        _, sink = await rig.turn(second, "two")
        assert sink.of(Noticed) == []
        assert not sink.memory["is_cleared"]
        assert rig.standin.requests[-1].user_texts == ("two",)


def test_stamps_tell_edits_apart(tmp_path: Path) -> None:
    workspace = tmp_path / "a" / "b"
    (workspace / ".claude" / "skills" / "s").mkdir(parents=True)
    env = {"HOME": str(tmp_path / "home")}
    stamps = [read_stamp(str(workspace), env)]
    for path in (
        workspace / "CLAUDE.md",
        tmp_path / "a" / "CLAUDE.md",
        workspace / ".mcp.json",
        workspace / ".claude" / "settings.local.json",
        workspace / ".claude" / "skills" / "s" / "SKILL.md",
        tmp_path / "home" / ".claude" / "settings.json",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        stamps.append(read_stamp(str(workspace), env))
    (workspace / "CLAUDE.md").unlink()
    stamps.append(read_stamp(str(workspace), env))
    (workspace / "unrelated.txt").write_text("x")
    assert read_stamp(str(workspace), env) == stamps[-1]
    assert len(set(stamps)) == len(stamps)


def test_memory_is_read_with_care() -> None:
    assert Memory.of(None) == Memory.of({"folders": "x", "is_cleared": 1}) == Memory()
    memory = Memory().with_files([f"/f{n}/x" for n in range(MAX_FOLDERS + 5)] + ["relative/x"])
    assert len(memory.folders) == MAX_FOLDERS
    assert Memory.of(memory.told()) == memory
    assert memory.with_files(["/f24/y"]) == memory


def test_no_history_is_no_text() -> None:
    assert history_text(History("t", ())) == ""
