"""How full the context is and what limits there are, and the ends of a turn that a person can do something about."""

from __future__ import annotations

from pathlib import Path

import pytest
from claude_agent_sdk import AssistantMessage, RateLimitInfo, ResultMessage

from bridgehub.agents.claude.translate.gauge import ClaudeGauge
from bridgehub.agents.claude.translate.outcome import TurnOutcome
from bridgehub.protocol.events import Gauged, HubEvent, TurnFailed
from tests.standin.replies import Answer, Failure
from tests.standin.rig import SDK_DROPS_GENERATORS, open_rig

pytestmark = pytest.mark.filterwarnings(SDK_DROPS_GENERATORS)

TOO_LONG = Failure(400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum")
ODD = Failure(400, "invalid_request_error", "odd")


async def test_the_context_is_told_after_a_turn(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver, told = rig.driver(), list[HubEvent]()

        async def tell(event: HubEvent) -> None:
            told.append(event)

        await driver.after_turn(tell)
        assert told == []
        rig.standin.script(Answer.of("hello"))
        await rig.turn(driver, "hi")
        await driver.after_turn(tell)
        (gauged,) = told
        assert isinstance(gauged, Gauged)
        context = gauged.gauge["context"]
        assert 0 < context["used"] < context["compacts_at"] < context["window"]
        assert gauged.gauge["cost_usd"] > 0


async def test_a_full_context_and_a_conversation_that_is_refused(tmp_path: Path) -> None:
    async with open_rig(tmp_path) as rig:
        driver = rig.driver()
        rig.standin.script(Answer.of("hello"))
        await rig.turn(driver, "hi")
        rig.standin.fallback = lambda seen: ODD
        end, _ = await rig.turn(driver, "and now")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.retryable, end.ways) == ("conversation_refused", False, ("renew", "fork"))
        rig.standin.fallback = lambda seen: TOO_LONG
        end, _ = await rig.turn(driver, "and again")
        assert isinstance(end, TurnFailed)
        assert (end.code, end.ways) == ("context_full", ("compact", "renew", "fork"))


def test_a_usage_limit_says_when_it_is_over() -> None:
    outcome = TurnOutcome("t", "u", None)
    outcome.note(AssistantMessage([], "m", error="rate_limit"))
    outcome.note(
        ResultMessage(
            "success", 1, 1, True, 1, "s", result="You've hit your limit", user_message_uuid="u",
            api_error_status=429,
        )
    )  # fmt: skip
    assert outcome.end(interrupted=False).code == "model_error"  # type: ignore[union-attr]
    outcome.limit = RateLimitInfo("rejected", resets_at=1_800_000_000, rate_limit_type="five_hour")
    end = outcome.end(interrupted=False)
    assert isinstance(end, TurnFailed)
    assert (end.code, end.retryable, end.resets_at_ms) == ("usage_limit", True, 1_800_000_000_000)


def test_limits_are_told_by_window() -> None:
    gauge = ClaudeGauge()
    windows = {
        "five_hour": {"utilization": 0.92, "resetsAt": 1_800_000_000},
        "seven_day": {"utilization": 0.5},
    }
    raw = {"unifiedWindows": windows}
    gauge.note_limits(RateLimitInfo("allowed_warning", rate_limit_type="five_hour", raw=raw))
    assert gauge.told()["limits"] == [
        {"name": "five_hour", "used_percent": 92.0, "resets_at": "2027-01-15T08:00:00.000Z"},
        {"name": "seven_day", "used_percent": 50.0},
    ]
