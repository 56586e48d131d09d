"""The acp driver's turns, against a stand-in agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from bridgehub.agents.acp import driver as acp_driver
from bridgehub.agents.acp.known import KNOWN
from bridgehub.agents.json_rpc.messages import Fields, Notification
from bridgehub.protocol.events import (
    AgentOffered,
    Consumed,
    Gauged,
    Noticed,
    PlanChanged,
    SettingsTold,
    TextPiece,
    ToolBegan,
    ToolEnded,
    TurnDone,
    TurnFailed,
)
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import History, PastMessage, Steer
from tests.standin.acp_rig import AcpSink, deciding, open_acp_rig
from tests.standin.rig import RecordingSink


async def test_text_comes_after_consumed_and_usage_with_the_end(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "hello")
        assert end == TurnDone("turn-1", 7, 3, 2)
        assert sink.events[0] == Consumed("turn-1")
        assert sink.text() == "you said hello (1)"


async def test_thinking_and_text_are_blocks_of_their_own(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "think hard")
        pieces = sink.of(TextPiece)
        assert [(piece.channel, piece.text) for piece in pieces] == [
            ("thinking", "hard"),
            ("text", "done thinking"),
        ]
        assert pieces[0].block != pieces[1].block


async def test_the_prompt_waits_until_the_workspace_is_saved(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        saved = trio.Event()
        sink = AcpSink(saved=saved)
        nursery.start_soon(rig.turn, rig.driver(), "hello", sink)
        await sink.until(lambda seen: seen.waits_for_save)
        assert not sink.of(Consumed)
        assert not (rig.home / "prompt.json").exists()
        saved.set()
        await sink.until(lambda seen: bool(seen.of(Consumed)))


async def test_the_second_turn_runs_on_the_same_program(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        _, first = await rig.turn(driver, "one")
        _, second = await rig.turn(driver, "two")
        assert first.memory["session_id"]
        assert second.memory == {}
        assert second.text() == "you said two (2)"


@pytest.mark.parametrize("way", [{"load": True}, {"load": False, "resume": True}])
async def test_a_later_process_resumes_and_repeats_nothing(tmp_path: Path, way: dict[str, bool]) -> None:
    async with open_acp_rig(tmp_path) as rig:
        first = rig.driver(way)
        _, sink = await rig.turn(first, "one")
        await first.aclose()
        _, again = await rig.turn(rig.driver(way, agent_memory=sink.memory), "two")
        assert again.text() == "you said two (2)"
        assert again.of(Noticed) == []


async def test_a_conversation_that_is_gone_is_given_again_as_text(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        rig.turns = 1
        sink = AcpSink(past=History("", (PastMessage("user", "MARKER-OLD"),)))
        _, sink = await rig.turn(rig.driver(agent_memory={"session_id": "gone"}), "two", sink)
        assert sink.text() == "you said two (1)"
        assert [notice.code for notice in sink.of(Noticed)] == ["context_given_again"]
        assert "MARKER-OLD" in rig.had()["blocks"][0]["text"]
        assert sink.memory["session_id"] != "gone"


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        ({"replay": "endless"}, False),
        ({"refuses": {"code": -32603, "message": "the session is open in another window"}}, False),
        ({"refuses": {"code": -32603, "message": "Session s1 not found"}}, True),
        ({"refuses": {"code": -32602, "message": "No such session: s1"}}, True),
        (
            {
                "refuses": {
                    "code": -32603,
                    "message": "Internal error",
                    "data": {"details": "No previous sessions found for this project."},
                }
            },
            True,
        ),
    ],
)
async def test_only_a_conversation_that_is_not_there_is_lost(
    tmp_path: Path, fault: dict[str, Any], lost: bool
) -> None:
    async with open_acp_rig(tmp_path) as rig:
        first = rig.driver()
        _, sink = await rig.turn(first, "one")
        await first.aclose()
        start_s = 5.0 if "replay" in fault else 45.0
        end, again = await rig.turn(rig.driver(fault, agent_memory=sink.memory, start_s=start_s), "two")
        if lost:
            assert isinstance(end, TurnDone)
            assert again.text() == "you said two (1)"
            return
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable, end.ways) == ("agent_exited", True, ("renew",))
        assert again.memory == {}
        _, again = await rig.turn(rig.driver(agent_memory=sink.memory), "three")
        assert again.text() == "you said three (2)"


@pytest.mark.parametrize(("later_s", "is_loaded"), [(119.0, False), (120.0, True)])
async def test_gemini_is_not_made_to_lose_a_young_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later_s: float, is_loaded: bool
) -> None:
    now_s = 60.0
    monkeypatch.setattr(acp_driver, "monotonic", lambda: now_s)
    monkeypatch.setattr(acp_driver, "known_of", lambda command: KNOWN["gemini"])
    async with open_acp_rig(tmp_path) as rig:
        first = rig.driver()
        _, sink = await rig.turn(first, "one")
        await first.aclose()
        now_s = later_s
        past = AcpSink(past=History("turn-2", (PastMessage("user", "one"),)))
        _, again = await rig.turn(rig.driver(agent_memory=sink.memory), "two", past)
        assert (again.text() == "you said two (2)") is is_loaded
        assert [notice.code for notice in again.of(Noticed)] == ([] if is_loaded else ["context_given_again"])


async def test_a_plan_commands_usage_and_modes_reach_the_devices(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        _, sink = await rig.turn(driver, "plan first,second")
        (plan,) = sink.of(PlanChanged)
        assert plan.entries[1] == {"content": "second", "status": "in_progress"}
        offered = sink.newest[AgentOffered]
        assert isinstance(offered, AgentOffered)
        kinds = {one["id"]: one["kind"] for one in offered.offer["modes"]}
        assert kinds == {"ask": "ask", "plan": "plan", "yolo": "bypass"}
        assert [one["id"] for one in offered.offer["models"] if one["default"]] == ["small"]
        _, told = await rig.turn(driver, "tell")
        assert told.newest[Gauged] == Gauged(
            "turn-2", {"context": {"used": 100, "window": 1000}, "cost_usd": 0.5}
        )
        changed = told.newest[AgentOffered]
        assert isinstance(changed, AgentOffered)
        assert changed.offer["commands"] == [
            {"name": "review", "description": "Review it", "argument_hint": "FILE"}
        ]
        assert told.of(SettingsTold) == [SettingsTold("turn-2", {"permission_mode": "plan"})]
        _, after = await rig.turn(driver, "settings")
        assert after.text() == "mode=ask model=small"


async def test_commands_that_come_with_the_conversation_are_not_lost(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        standin = {"early_commands": ["old", "review"]}
        _, sink = await rig.turn(rig.driver(standin), "one")
        offered = sink.newest[AgentOffered]
        assert isinstance(offered, AgentOffered)
        assert [one["name"] for one in offered.offer["commands"]] == ["review"]
        _, later = await rig.turn(rig.driver(standin, agent_memory=sink.memory), "two")
        offered = later.newest[AgentOffered]
        assert isinstance(offered, AgentOffered)
        assert [one["name"] for one in offered.offer["commands"]] == ["review"]


async def test_commands_that_come_right_before_the_prompt_are_told(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        driver, sink = rig.driver(), rig.sink()
        await rig.turn(driver, "one", sink)
        sink.saved = trio.Event()
        nursery.start_soon(rig.turn, driver, "two", sink)
        await sink.until(lambda seen: seen.waits_for_save)
        session = driver._session
        assert session is not None
        update = {"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "review"}]}
        session.hear_idle(
            Notification("session/update", Fields({"sessionId": session.session_id, "update": update}))
        )
        sink.saved.set()

        def offers(seen: RecordingSink) -> bool:
            offered = seen.newest[AgentOffered]
            return isinstance(offered, AgentOffered) and bool(offered.offer["commands"])

        await sink.until(offers)


def commands_of(sink: RecordingSink) -> list[str]:
    offered = sink.newest.get(AgentOffered)
    return [one["name"] for one in offered.offer["commands"]] if isinstance(offered, AgentOffered) else []


async def test_what_changes_between_two_turns_is_told_at_once(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver, told = rig.driver(), AcpSink()
        await rig.turn(driver, "later")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(driver.wait_own_work, told.emit)
            await told.until(lambda seen: commands_of(seen) == ["review"])
            assert told.of(SettingsTold) == [SettingsTold(None, {"permission_mode": "plan"})]
            session = driver._session
            assert session is not None
            update = {"sessionUpdate": "available_commands_update", "availableCommands": [{"name": "more"}]}
            session.hear_idle(
                Notification("session/update", Fields({"sessionId": session.session_id, "update": update}))
            )
            await told.until(lambda seen: commands_of(seen) == ["more"])
            assert len(told.of(SettingsTold)) == 1
            nursery.cancel_scope.cancel(reason="a prompt came")
        _, after = await rig.turn(driver, "settings")
        assert after.of(SettingsTold) == [], "the turn began with what the person chose"


async def test_our_own_change_between_two_turns_is_not_the_agents(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig, trio.open_nursery() as nursery:
        driver, told = rig.driver({"tells_mode": True}), AcpSink()
        await rig.turn(driver, "one")
        nursery.start_soon(driver.wait_own_work, told.emit)
        await driver.configure(Setup(permission_mode="plan"), told.emit)
        await told.until(lambda seen: AgentOffered in seen.newest)
        assert told.of(SettingsTold) == []
        nursery.cancel_scope.cancel(reason="a prompt came")


@pytest.mark.parametrize("choices", ["options", "lists"])
async def test_model_and_mode_are_set_also_in_a_later_process(tmp_path: Path, choices: str) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver({"choices": choices})
        _, sink = await rig.turn(driver, "one")
        told = AcpSink()
        await driver.configure(Setup(model="large", permission_mode="plan"), told.emit)
        assert told.of(SettingsTold) == []
        _, now = await rig.turn(driver, "settings", setup=Setup(model="large", permission_mode="plan"))
        assert now.text() == "mode=plan model=large"
        await driver.aclose()
        later = rig.driver({"choices": choices}, agent_memory=sink.memory)
        _, again = await rig.turn(later, "settings", setup=Setup(model="large"))
        assert again.text() == "mode=ask model=large"


async def test_what_the_agent_does_not_offer_is_told_with_what_holds(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        setup = Setup(model="huge", permission_mode="yolo", effort="high")
        _, sink = await rig.turn(rig.driver(), "settings", setup=setup)
        assert sink.text() == "mode=ask model=small"
        refusals = {next(iter(one.settings)): one.refused or "" for one in sink.of(SettingsTold)}
        assert "allow_bypass" in refusals["permission_mode"]
        assert "huge" in refusals["model"]
        assert "no choice of effort" in refusals["effort"]


async def test_a_mode_that_the_agent_itself_refuses_is_told(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver({"choices": "lists"}, options={"allow_bypass": True})
        _, sink = await rig.turn(driver, "settings", setup=Setup(permission_mode="yolo"))
        assert sink.of(SettingsTold) == [
            SettingsTold("turn-1", {"permission_mode": None}, "standin: not that one")
        ]


async def test_files_go_along_as_images_text_and_links(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        files = {"a.png": b"\x89PNG\r\n\x1a\nxx", "b.txt": b"some text", "c.bin": b"\0\1"}
        for name, data in files.items():
            (rig.home / name).write_bytes(data)
        attachments = tuple({"path": str(rig.home / name), "filename": name} for name in files)
        await rig.turn(rig.driver(), "look", attachments=attachments)
        blocks = rig.had()["blocks"]
        assert [one["type"] for one in blocks] == [
            "text",
            "image",
            "resource_link",
            "resource",
            "resource_link",
        ]
        assert blocks[3]["resource"]["text"] == "some text"
        await rig.turn(rig.driver({"embedded": False}), "look", attachments=attachments[1:2])
        assert [one["type"] for one in rig.had()["blocks"]] == ["text", "resource_link"]


async def test_an_interrupt_ends_the_turn_and_the_program_stays(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        sink = AcpSink()
        end = await rig.interrupted(driver, "wait", sink, lambda seen: seen.text() == "waiting")
        assert isinstance(end, TurnDone)
        _, after = await rig.turn(driver, "settings")
        assert after.text() == "mode=ask model=small"
        assert not await driver.steer(Steer("turn-2", "m", "more"))


async def test_an_interrupt_answers_open_requests_cancelled(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        sink = AcpSink()
        end = await rig.interrupted(rig.driver(), "write a.txt hello", sink, lambda seen: bool(sink.asked))
        assert isinstance(end, TurnDone)
        assert sink.withdrawn == 1
        assert [one.output for one in sink.of(ToolEnded)] == ["chose cancelled"]
        assert not (rig.workspace / "a.txt").exists()


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("stop refusal", "model_error", "refused"),
        ("stop cancelled", "model_error", "stopped by itself"),
        ("fail -32603", "model_error", "it went wrong"),
        ("fail -32000", "not_signed_in", "Use a key: set STANDIN_KEY"),
        ("die", "agent_exited", "it is over"),
    ],
)
async def test_bad_ends_are_told_in_words(tmp_path: Path, content: str, code: str, words: str) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver()
        end, _ = await rig.turn(driver, content)
        assert isinstance(end, TurnFailed)
        assert end.code == code
        assert words in end.content
        after, _ = await rig.turn(driver, "hello")
        assert isinstance(after, TurnDone)


async def test_an_answer_that_reached_a_limit_is_told(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        end, sink = await rig.turn(rig.driver(), "stop max_tokens")
        assert isinstance(end, TurnDone)
        assert [notice.code for notice in sink.of(Noticed)] == ["answer_cut"]


async def test_an_agent_that_is_not_ready_says_what_to_do(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        missing, _ = await rig.turn(rig.driver(options={"command": ["opencode", "acp"]}), "hello")
        assert isinstance(missing, TurnFailed)
        assert missing.code == "not_installed"
        assert "npm install -g opencode-ai" in missing.content
        program = tmp_path / "agent"
        program.write_text("#!/bin/sh\nexec sleep 987\n")
        command = {"command": [str(program)]}
        not_run, _ = await rig.turn(rig.driver(options=command), "hello")
        assert isinstance(not_run, TurnFailed)
        assert (not_run.code, f"The file {program} is not executable." in not_run.content) == (
            "not_installed",
            True,
        )
        program.chmod(0o755)
        hung, _ = await rig.turn(rig.driver(options=command, start_s=0.5), "hello")
        assert isinstance(hung, TurnFailed)
        assert (hung.code, hung.content) == ("agent_exited", "standin did not start within 0.5 s.")
        unsigned, _ = await rig.turn(rig.driver({"signed_in": False}), "hello")
        assert isinstance(unsigned, TurnFailed)
        assert unsigned.code == "not_signed_in"
        assert "Use a key: set STANDIN_KEY" in unsigned.content


async def test_tool_output_over_the_bound_is_kept_whole(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        _, sink = await rig.turn(rig.driver(), "shell yes | head -c 100000", deciding("allow"))
        (ended,) = sink.of(ToolEnded)
        assert ended.blob is not None
        assert ended.blob["size"] == 100_000
        assert (rig.home / "blobs" / ended.blob["sha256"]).stat().st_size == 100_000
        assert [one.name for one in sink.of(ToolBegan)] == ["execute"]
