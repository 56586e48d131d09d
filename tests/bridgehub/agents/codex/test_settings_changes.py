"""Model, effort, mode and plans with the real Codex: what a turn starts with, and what a plan's approval does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridgehub.protocol.events import AgentOffered, SettingsTold, TurnDone
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided
from tests.standin.openai_rig import MODEL, CodexSink, open_codex_rig
from tests.standin.replies import Answer, Text
from tests.standin.rig import Asked

PLAN = "<proposed_plan>\n# The plan\n1. Write\n</proposed_plan>"


async def test_each_turn_works_with_the_settings_of_its_prompt(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(), CodexSink()
        await rig.turn(driver, "one", sink, setup=Setup(MODEL))
        told = sink.newest[AgentOffered]
        assert isinstance(told, AgentOffered)
        offer = told.offer
        assert [one["kind"] for one in offer["modes"]] == ["edits", "ask", "ask", "edits", "plan", "bypass"]
        models = [one["id"] for one in offer["models"]]
        other = next(one for one in models if one != MODEL)
        await rig.turn(driver, "two", setup=Setup(other, None, "low"))
        seen = rig.standin.requests[-1]
        assert (seen.model, seen.body["reasoning"]["effort"]) == (other, "low")
        await rig.turn(driver, "three", setup=Setup(MODEL, "read-only", "high"))
        seen = rig.standin.requests[-1]
        assert (seen.model, seen.body["reasoning"]["effort"]) == (MODEL, "high")
        assert (seen.user_texts[0], seen.user_texts[-1]) == ("one", "three")


async def test_a_mode_that_never_asks_needs_the_config(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        sink = CodexSink()
        end, _ = await rig.turn(rig.driver(), "go", sink, setup=Setup(MODEL, "bypassPermissions"))
        assert isinstance(end, TurnDone)
        (told,) = sink.of(SettingsTold)
        assert told.settings == {"permission_mode": None}
        assert told.refused


@pytest.mark.parametrize(
    ("decided", "asks", "last"),
    [
        (Decided("r", "allow"), 1, "Implement the plan."),
        (Decided("r", "allow", mode="acceptEdits"), 1, "Implement the plan."),
        (Decided("r", "allow", input={"plan": "# OTHER"}), 1, "# OTHER"),
        (Decided("r", "deny"), 1, "plan it"),
    ],
)
async def test_a_plan_is_asked_about_and_carried_out_in_the_same_turn(
    tmp_path: Path, decided: Decided, asks: int, last: str
) -> None:
    async with open_codex_rig(tmp_path) as rig:
        driver, sink = rig.driver(), CodexSink(decide=lambda asked: decided)
        rig.standin.script(Answer.of(Text.of(PLAN)), Answer.of("implemented"))
        end, _ = await rig.turn(driver, "plan it", sink, setup=Setup(MODEL, "plan"))
        assert isinstance(end, TurnDone)
        assert len(sink.asked) == asks
        asked = sink.asked[0]
        assert asked.words is not None
        assert (asked.words.kind, asked.words.editable) == ("plan", ("plan",))
        assert "# The plan" in asked.tool_input["plan"]
        assert last in rig.standin.requests[-1].user_texts[-1]
        told = [one.settings for one in sink.of(SettingsTold)]
        leaves = decided.decision == "allow" and decided.mode is None
        assert told == ([{"permission_mode": None}] if leaves else [])


async def test_a_plan_denied_with_a_note_is_made_again(tmp_path: Path) -> None:
    async with open_codex_rig(tmp_path) as rig:
        answers = [Decided("r", "deny", note="shorter"), Decided("r", "deny")]

        def decide(asked: Asked) -> Decided:
            return answers.pop(0)

        sink = CodexSink(decide=decide)
        rig.standin.script(Answer.of(Text.of(PLAN)), Answer.of(Text.of(PLAN)))
        end, _ = await rig.turn(rig.driver(), "plan it", sink, setup=Setup(MODEL, "plan"))
        assert isinstance(end, TurnDone)
        assert len(sink.asked) == 2
        assert rig.standin.requests[-1].user_texts[-1] == "shorter"
