"""The codex driver's turns, with the real program against the stand-in."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import trio

from bridgehub.agents.codex.driver import CodexDriver
from bridgehub.agents.codex.start import find_program
from bridgehub.agents.errors import ProgramError
from bridgehub.protocol.events import AgentOffered, Consumed, Joined, Noticed, TextPiece, TurnDone, TurnFailed
from bridgehub.protocol.folder import can_join
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import History, PastMessage, Prompt, Steer
from tests.standin.driver_rig import TURN_S
from tests.standin.openai_rig import MODEL, CodexRig, CodexSink, open_codex_rig
from tests.standin.replies import Answer, Hang, Text, Thinking
from tests.standin.rig import eventually, stopped_at_its_start

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000"
    "000d4944415478da6364f8cf500f00038601805a347d6b0000000049454e44ae426082"
)


async def test_text_and_reasoning_stream_as_they_were_said(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        words = [f"word{i} " for i in range(300)]
        rig.standin.script(Answer.of(Thinking.of("let me ", "think"), Text.of(*words), "and out"))
        end, sink = await rig.turn(rig.driver(), "hello")
        assert isinstance(end, TurnDone)
        assert end.position
        assert end == TurnDone("turn-1", 11, 7, 5, position=end.position)
        assert sink.text() == "".join(words) + "and out"
        assert sink.text("thinking") == "let me think"
        assert sink.events[0] == Consumed("turn-1")
        blocks = [piece.block for piece in sink.of(TextPiece)]
        assert list(dict.fromkeys(blocks)) == ["rs_1_0:0", "msg_1_1", "msg_1_2"]
        assert rig.standin.requests[0].key == "standin-key"
        assert rig.standin.other_calls == []


async def test_the_prompt_waits_until_the_workspace_is_saved(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        driver = rig.driver()
        await rig.turn(driver, "first")
        saved = trio.Event()
        sink = CodexSink(saved=saved)
        nursery.start_soon(rig.turn, driver, "second", sink)
        await sink.until(lambda seen: seen.waits_for_save)
        assert (sink.events, len(rig.standin.requests)) == ([], 1)
        saved.set()
        await sink.until(lambda seen: bool(seen.of(Consumed)))


async def test_the_second_turn_has_context_and_the_same_program(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        _, sink = await rig.turn(driver, "first")
        assert sink.memory["thread_id"]
        before = rig.main_program()
        _, again = await rig.turn(driver, "second")
        assert rig.standin.requests[-1].user_texts == ("first", "second")
        assert again.memory == {}
        assert rig.main_program() == before


async def test_a_new_driver_resumes_the_thread_with_its_settings(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        first = rig.driver()
        _, sink = await rig.turn(first, "first")
        await first.aclose()
        driver = rig.driver(agent_memory=sink.memory)
        _, again = await rig.turn(driver, "second")
        seen = rig.standin.requests[-1]
        assert seen.user_texts == ("first", "second")
        assert "standin: 1 user messages" in seen.assistant_texts[0]
        assert not again.of(Noticed)
        rights = [part for part in str(seen.body).split("<permission_profile") if "write" in part]
        assert rights, "the resumed thread may write in the workspace"


async def test_a_lost_thread_gets_the_history_again(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        lost = {"thread_id": "01a2033a-5186-7871-8b90-30cba945faa0"}
        past = (PastMessage("user", "my name is Ada"), PastMessage("assistant", "hello Ada"))
        sink = CodexSink(past=History("", past, left_out=3))
        end, _ = await rig.turn(rig.driver(agent_memory=lost), "who am I", sink, taken_before=1)
        assert isinstance(end, TurnDone)
        assert [notice.code for notice in sink.of(Noticed)] == ["context_given_again"]
        context, prompt = rig.standin.requests[0].user_texts
        assert "user: my name is Ada\nassistant: hello Ada" in context
        assert "3 older messages are left out" in context
        assert prompt == "who am I"
        assert sink.memory["thread_id"] != lost["thread_id"]
        assert sink.wanted_bytes > 100_000


def recorded(rig: CodexRig, word: str = "") -> list[Path]:
    """Return the records of Codex that have a word."""
    rollouts = rig.home.glob(".codex/sessions/*/*/*/rollout-*.jsonl")
    return [rollout for rollout in rollouts if word in rollout.read_text()]


@pytest.mark.parametrize("why", ["open elsewhere", "spoilt", "hangs"])
async def test_a_thread_that_cannot_be_taken_up_now_stays_the_sessions(tmp_path: Path, why: str) -> None:
    async with open_codex_rig(tmp_path) as rig:
        person = rig.driver()
        _, sink = await rig.turn(person, "first")
        await eventually(lambda: len(recorded(rig, "task_complete")) == 1)  # after the answer is shown
        (rollout,) = recorded(rig)
        if why != "open elsewhere":
            await person.aclose()
        whole, driver = rollout.read_bytes(), rig.driver(agent_memory=sink.memory)
        if why == "spoilt":
            rollout.write_bytes(b"")
        if why == "hangs":
            stopped = stopped_at_its_start(find_program(rig.spec()), tmp_path)
            driver.spec = rig.spec(options=stopped, agent_memory=sink.memory, start_s=1.0)
        past = History("", (PastMessage("user", "first"),), left_out=0)
        for _ in range(2):
            end, failed = await rig.turn(driver, "lost?", CodexSink(past=past))
            assert isinstance(end, TurnFailed)
            assert (end.code, end.retryable) == ("agent_exited", True)
            assert ("another Codex" in end.content) == (why == "open elsewhere")
            assert (failed.events, failed.memory, failed.wanted_bytes) == ([], {}, 0)
        await person.aclose()
        if why == "spoilt":
            rollout.write_bytes(whole)
        driver.spec = rig.spec(agent_memory=sink.memory)
        end, again = await rig.turn(driver, "second")
        assert isinstance(end, TurnDone)
        assert rig.standin.requests[-1].user_texts == ("first", "second")
        assert (again.memory, again.of(Noticed)) == ({}, [])


async def test_compact_sums_the_conversation_up_and_is_no_text(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "first")
        rig.standin.script(Answer.of("MARKER-SUMMARY"))
        end, sink = await rig.turn(driver, "/compact")
        assert isinstance(end, TurnDone)
        assert sink.events[0] == Consumed("turn-2")
        assert "context_compacted" in [notice.code for notice in sink.of(Noticed)]
        assert sink.text() == ""
        await rig.turn(driver, "after")
        said = rig.standin.requests[-1].user_texts
        assert "/compact" not in said
        assert any("MARKER-SUMMARY" in text for text in said)


async def test_review_is_codex_s_own_and_works_with_the_settings(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        _, sink = await rig.turn(driver, "first")
        told = sink.newest[AgentOffered]
        assert isinstance(told, AgentOffered)
        assert [one["name"] for one in told.offer["commands"]] == ["compact", "review"]
        other = next(one["id"] for one in told.offer["models"] if one["id"] != MODEL)
        findings = {"findings": [], "overall_correctness": "patch is correct", "overall_explanation": "Fine."}
        rig.standin.script(Answer.of(json.dumps(findings | {"overall_confidence_score": 0.9})))
        end, sink = await rig.turn(driver, "/review look at a.txt", setup=Setup(other, "read-only", "low"))
        assert isinstance(end, TurnDone)
        assert (sink.events[0], sink.text()) == (Consumed("turn-2"), "Fine.")
        seen = rig.standin.requests[-1]
        assert (seen.user_texts[-1], seen.body["reasoning"]["effort"]) == ("look at a.txt", "low")

        rig.standin.script(Answer.of(Text.of("endless ", trio.Event())))
        count, sink = len(rig.standin.requests), CodexSink()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "/review", sink)
            await rig.standin.request(count + 1)
            await sink.until(lambda seen: bool(seen.of(Consumed)))
            await driver.interrupt()
        end, after = await rig.turn(driver, "and now")
        assert isinstance(end, TurnDone)
        assert "last: and now" in after.text()


async def test_a_program_that_was_warmed_up_takes_the_first_message(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, warm = rig.driver(), CodexSink()
        await driver.warm_up(Prompt("", "", "", 0, setup=Setup(MODEL)), warm)
        assert (warm.events, rig.standin.requests) == ([], [])
        before = rig.main_program()
        _, sink = await rig.turn(driver, "first", setup=Setup(MODEL))
        assert rig.main_program() == before
        assert sink.memory == {}, "it was remembered before"
        await driver.aclose()
        later = rig.driver(agent_memory=warm.memory)
        await rig.turn(later, "second")
        assert rig.standin.requests[-1].user_texts == ("first", "second")


async def test_a_program_stays_for_a_terminal_that_is_about_to_join(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as sockets:  # a socket's path must be short
        socket = Path(sockets) / "s"
        async with open_codex_rig(tmp_path) as rig:
            driver = rig.driver(socket=str(socket))
            await rig.turn(driver, "first", setup=Setup(MODEL))
            before = rig.main_program()
            (rig.workspace / "AGENTS.md").write_text("changed")
            driver.expect_terminal()
            await driver.warm_up(Prompt("", "", "", 1, setup=Setup(MODEL)), CodexSink())
            await rig.turn(driver, "second", setup=Setup(MODEL))
            assert rig.main_program() == before
            assert can_join(socket.with_name("sx"))
            await driver.aclose()
            assert can_join(socket.with_name("sx")) is None


async def test_a_program_that_nobody_can_join_says_so(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as sockets:
        place = Path(sockets) / "sx"
        async with open_codex_rig(tmp_path) as rig:
            driver = rig.driver(socket=str(place.with_name("s")), options={"cli_path": "/nowhere"})
            with pytest.raises(ProgramError):
                await driver.warm_up(Prompt("", "", "", 0, setup=Setup(MODEL)), CodexSink())
            assert can_join(place) is False
            later = rig.driver(socket=str(place.with_name("s")))
            await later.warm_up(Prompt("", "", "", 0, setup=Setup(MODEL)), CodexSink())
            assert can_join(place)


async def test_a_first_turn_asks_for_no_history(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "hello")
        assert sink.wanted_bytes == 0
        assert not sink.of(Noticed)


async def test_an_interrupt_and_the_next_turn(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(), CodexSink()
        rig.standin.script(Answer.of(Text.of("endless ", trio.Event())))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "go on", sink)
            await sink.until(lambda seen: seen.text() == "endless ")
            with trio.fail_after(20):
                await driver.interrupt()
        before = rig.main_program()
        end, after = await rig.turn(driver, "and now")
        assert isinstance(end, TurnDone)
        assert "last: and now" in after.text()
        assert rig.main_program() == before, "the program stays warm"


@pytest.mark.parametrize("moment", ["at once", "in the start", "before the answer"])
async def test_an_interrupt_in_any_state(tmp_path: Path, moment: str) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        if moment != "in the start":
            await rig.turn(driver, "warm up")
        rig.standin.script(Hang())
        ends: list[object] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def run() -> None:
                ends.append((await rig.turn(driver, "x"))[0])

            if moment == "before the answer":
                await rig.standin.request(2)
            else:
                await trio.testing.wait_all_tasks_blocked()
            await driver.interrupt()
        (stopped,) = ends
        assert isinstance(stopped, TurnDone)
        assert stopped == TurnDone(f"turn-{rig.turns}", position=stopped.position)
        rig.standin.forget_script()
        end, _ = await rig.turn(driver, "next")
        assert isinstance(end, TurnDone)


async def test_a_steered_message_reaches_the_model_in_the_same_turn(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink, gate = rig.driver(), CodexSink(), trio.Event()
        rig.standin.script(Answer.of(Text.of("working ", gate, "done")))
        taken: list[bool] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "do it", sink)
            await sink.until(lambda seen: seen.text() == "working ")

            @nursery.start_soon
            async def steer() -> None:
                taken.append(await driver.steer(Steer("turn-1", "message-s", "in green please")))

            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert taken == [True]
        assert rig.standin.requests[-1].user_texts == ("do it", "in green please")
        assert len(rig.standin.requests) == 2
        assert not await driver.steer(Steer("turn-1", "message-t", "too late"))


async def test_a_steered_message_and_an_interrupt_at_once(tmp_path: Path) -> None:
    """Whichever is first: what counts as taken is what the thread has from then on."""
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(), CodexSink()
        rig.standin.script(Answer.of(Text.of("working ", trio.Event())))
        taken: list[bool] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.turn, driver, "do it", sink)
            await sink.until(lambda seen: seen.text() == "working ")

            @nursery.start_soon
            async def steer() -> None:
                taken.append(await driver.steer(Steer("turn-1", "message-s", "in green please")))

            await trio.testing.wait_all_tasks_blocked()
            await driver.interrupt()
        await rig.turn(driver, "next")
        said = rig.standin.requests[-1].user_texts
        assert taken == ["in green please" in said]
        assert said[-1] == "next"


async def test_files_go_by_path_and_pictures_as_pictures(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        picture, notes = tmp_path / "a.png", tmp_path / "notes.txt"
        picture.write_bytes(PNG)
        notes.write_text("read me")
        attachments = (
            {"path": str(picture), "filename": "photo.png", "mime_type": "image/png"},
            {"path": str(notes), "filename": "notes.txt", "mime_type": "text/plain"},
        )
        await rig.turn(rig.driver(), "look", attachments=attachments)
        seen = rig.standin.requests[0]
        assert len(seen.images) == 1
        assert seen.images[0].startswith("data:image/png;base64,")
        said = "\n".join(seen.user_texts)
        assert f"- notes.txt: {notes}" in said
        assert f"- photo.png: {picture}" in said


async def test_edited_instructions_count_from_the_next_turn(tmp_path: Path) -> None:
    """Codex reads the workspace's in a new process only, so the driver starts one; the thread continues."""
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        (rig.home / ".codex" / "AGENTS.md").write_text("MARKER-HOME-1")
        (rig.workspace / "AGENTS.md").write_text("MARKER-SPACE-1")
        await rig.turn(driver, "one")
        assert rig.standin.requests[-1].markers == ("MARKER-HOME-1", "MARKER-SPACE-1")
        (rig.workspace / "AGENTS.md").write_text("MARKER-SPACE-2")
        await rig.turn(driver, "two")
        assert "MARKER-SPACE-2" in rig.standin.requests[-1].markers
        assert rig.standin.requests[-1].user_texts == ("one", "two")
        (rig.home / ".codex" / "AGENTS.md").write_text("MARKER-HOME-2")
        await rig.turn(driver, "three")
        assert "MARKER-HOME-2" in rig.standin.requests[-1].markers


async def test_garbled_surrogates_and_long_pieces_are_fitted(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        long = "é" * 400_000
        rig.standin.script(Answer.of(Text.of(long)))
        end, sink = await rig.turn(rig.driver(), "hello")
        assert isinstance(end, TurnDone)
        assert sink.text() == long
        assert max(len(piece.text.encode()) for piece in sink.of(TextPiece)) <= 256 * 1024


async def _close(driver: CodexDriver, rig: CodexRig) -> None:
    with trio.fail_after(TURN_S):
        await driver.aclose()
    assert rig.programs() == []


async def test_a_closed_driver_leaves_nothing_and_works_again(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "one")
        assert rig.programs()
        await _close(driver, rig)
        await _close(driver, rig)
        await rig.turn(driver, "two")
        assert rig.standin.requests[-1].user_texts == ("one", "two")


async def test_a_program_that_ended_is_shared_by_no_terminal(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver = rig.driver()
        await rig.turn(driver, "first")
        assert driver._session is not None
        driver._session.between.is_joined = True
        for process in rig.programs():
            process.kill()
        end, sink = await rig.turn(driver, "second")
        assert isinstance(end, TurnDone)
        assert sink.of(Joined) == [Joined(None, is_joined=False)]
