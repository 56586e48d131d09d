"""Model, mode and effort with the real program: changed between turns and in them, and kept over a new program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridgehub.protocol.events import AgentOffered, HubEvent, SettingsTold, TurnDone
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided
from tests.standin.replies import Answer, ToolUse
from tests.standin.rig import SDK_DROPS_GENERATORS, Asked, ClaudeRig, RecordingSink, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)


async def ignore(event: HubEvent) -> None:
    assert not isinstance(event, SettingsTold), event


def write(name: str) -> ToolUse:
    return ToolUse("Write", {"file_path": name, "content": "x"})


async def turn(
    rig: ClaudeRig, driver: Any, content: str, setup: Setup, sink: RecordingSink | None = None
) -> Any:
    return await rig.turn(driver, content, sink, setup=setup)


async def test_a_prompts_settings_hold_also_after_a_resume(tmp_path: Path) -> None:
    setup = Setup("sonnet", "acceptEdits", "low")
    async with open_rig(tmp_path) as rig:
        for name in ("one.txt", "two.txt"):  # each with a program of its own; the second resumes
            path = str(rig.workspace / name)
            rig.standin.script(Answer.of(write(path)), Answer.of("done"))
            driver = rig.driver()
            end, sink = await turn(rig, driver, f"write {name}", setup, RecordingSink())
            assert isinstance(end, TurnDone)
            assert sink.of(Asked) == []
            assert (rig.workspace / name).exists()
            body = rig.standin.requests[-1].body
            assert "sonnet" in body["model"]
            assert body["output_config"]["effort"] == "low"
            await driver.aclose()


async def test_a_model_of_a_terminals_record_gets_its_listed_name(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        for _ in range(2):
            rig.standin.script(Answer.of("one"))
            _, sink = await turn(rig, driver, "one", Setup("claude-sonnet-5-5"))
            assert [one.settings for one in sink.of(SettingsTold)] == [{"model": "sonnet"}]
            assert rig.standin.requests[-1].model == "claude-sonnet-5-5"
        rig.standin.script(Answer.of("two"))
        _, sink = await turn(rig, driver, "two", Setup("sonnet"))
        assert sink.of(SettingsTold) == []
        assert rig.standin.requests[-1].model == "claude-sonnet-5-5"


async def test_settings_change_between_turns_and_in_one(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        rig.standin.script(Answer.of("one"))
        _, sink = await turn(rig, driver, "one", Setup())
        offer = sink.newest[AgentOffered].offer
        assert "sonnet" in [one["id"] for one in offer["models"]]
        assert [one["kind"] for one in offer["modes"]] == ["ask", "edits", "plan", "auto", "bypass"]
        assert offer["commands"]
        await driver.configure(Setup("sonnet", "default", "high"), ignore)
        first, second = str(rig.workspace / "a.txt"), str(rig.workspace / "b.txt")
        rig.standin.script(Answer.of(write(first)), Answer.of(write(second)), Answer.of("two"))

        def answer(asked: Asked) -> Decided:
            assert asked.words is not None
            assert "acceptEdits" in asked.words.modes
            return Decided("r", "allow", mode="acceptEdits")

        end, sink = await turn(rig, driver, "two", Setup("sonnet", "default", "high"), RecordingSink(answer))
        assert isinstance(end, TurnDone)
        assert len(sink.of(Asked)) == 1
        assert sink.of(SettingsTold) == []
        body = rig.standin.requests[-1].body
        assert ("sonnet" in body["model"], body["output_config"]["effort"]) == (True, "high")
        await driver.aclose()


async def test_what_the_program_refuses_is_told_with_what_holds(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        rig.standin.script(Answer.of("one"))
        _, sink = await turn(rig, driver, "one", Setup(permission_mode="plan"))
        assert sink.of(SettingsTold) == []
        told: list[HubEvent] = []

        async def tell(event: HubEvent) -> None:
            told.append(event)

        await driver.configure(Setup(permission_mode="bypassPermissions"), tell)
        (refused,) = told
        assert isinstance(refused, SettingsTold)
        assert refused.settings == {"permission_mode": "plan"}
        assert refused.refused
        await driver.aclose()


async def test_bypass_is_switched_on_only_where_the_config_allows_it(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver(options={"allow_bypass": True})
        command = ToolUse("Bash", {"command": "touch made.txt", "description": "try"})
        rig.standin.script(Answer.of(command), Answer.of("done"))
        end, sink = await turn(rig, driver, "go", Setup(permission_mode="bypassPermissions"))
        assert isinstance(end, TurnDone)
        assert (sink.of(Asked), sink.of(SettingsTold)) == ([], [])
        assert (rig.workspace / "made.txt").exists()
        await driver.aclose()


@pytest.mark.parametrize(
    ("decided", "mode", "asks_again"),
    [
        (Decided("r", "allow"), "default", True),
        (Decided("r", "allow", mode="acceptEdits"), "acceptEdits", False),
        (Decided("r", "allow", input={"plan": "# EDITED"}), "default", True),
    ],
)
async def test_a_plan_is_approved(tmp_path: Path, decided: Decided, mode: str, asks_again: bool) -> None:
    async with open_rig(tmp_path) as rig:
        driver, path = rig.driver(), str(rig.workspace / "made.txt")
        plan = ToolUse("ExitPlanMode", {"plan": "# The plan\n1. Write"})
        rig.standin.script(Answer.of(plan), Answer.of(write(path)), Answer.of("done"))

        def answer(asked: Asked) -> Decided:
            if asked.tool != "ExitPlanMode":
                return Decided("r", "allow")
            assert asked.words is not None
            assert (asked.words.kind, asked.words.modes, asked.grant) == ("plan", (), None)
            return decided

        end, sink = await turn(rig, driver, "plan it", Setup(permission_mode="plan"), RecordingSink(answer))
        assert isinstance(end, TurnDone)
        assert [asked.tool for asked in sink.of(Asked)] == [
            "ExitPlanMode",
            *(["Write"] if asks_again else []),
        ]
        told = [one.settings for one in sink.of(SettingsTold)]
        assert told == ([{"permission_mode": "default"}] if mode == "default" else [])
        await driver.aclose()


async def test_a_denied_plan_gives_the_feedback_and_stays_in_plan_mode(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        rig.standin.script(
            Answer.of(ToolUse("ExitPlanMode", {"plan": "# The plan"})), Answer.of("again then")
        )
        denied = RecordingSink(lambda asked: Decided("r", "deny", note="shorter please"))
        _, sink = await turn(rig, driver, "plan it", Setup(permission_mode="plan"), denied)
        assert sink.of(SettingsTold) == []
        assert "shorter please" in rig.standin.requests[-1].tool_results[-1]
        await driver.aclose()


async def test_a_model_typed_as_a_command_is_told(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        _, sink = await turn(rig, driver, "/model sonnet", Setup())
        assert [one.settings for one in sink.of(SettingsTold)] == [{"model": "sonnet"}]
        await driver.aclose()
