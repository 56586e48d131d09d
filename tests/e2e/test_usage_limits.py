"""A usage limit as the real services tell it, through both real programs and the whole server."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.agents import AGENTS, START_S, begin, end_of, open_agents
from tests.standin.replies import Failure

SIGNED_IN = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "x"}
"""Claude Code reads its limits only with a subscription."""

AHEAD_S = 6
"""How far ahead the limit is over: the times of the services have whole seconds."""


def limit_of(agent: str, resets_at: int) -> Failure:
    """Return how the service refuses somebody whose five hours are used up."""
    if agent == "claude":
        words = {
            "status": "rejected",
            "reset": resets_at,
            "representative-claim": "five_hour",
            "5h-status": "rejected",
            "5h-reset": resets_at,
            "5h-utilization": "1.0",
            "5h-surpassed-threshold": "1.0",
        }
        headers = tuple((f"anthropic-ratelimit-unified-{name}", str(value)) for name, value in words.items())
        return Failure(429, "rate_limit_error", "This request would exceed your limit", headers=headers)
    numbers = {"used-percent": 100, "window-minutes": 300, "reset-at": resets_at}
    headers = tuple((f"x-codex-primary-{name}", str(value)) for name, value in numbers.items())
    more = {"plan_type": "plus", "resets_at": resets_at}
    return Failure(429, "usage_limit_reached", "The usage limit has been reached", headers=headers, more=more)


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_limit_holds_the_queue_until_somebody_goes_on(tmp_path: Path, agent: str) -> None:
    async with open_agents(tmp_path, claude_env=SIGNED_IN) as place, place.server.device() as one:
        await one.attach("trip", agent=agent, device_id="one")
        await end_of(one, (await begin(one, "trip", "hello"))["turn_id"])
        standin = place.standin(agent)
        resets_at = int(time.time()) + AHEAD_S
        at = datetime.fromtimestamp(resets_at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        for _ in range(8):
            standin.script(limit_of(agent, resets_at))
        turn = (await begin(one, "trip", "too much"))["turn_id"]
        waiting = await begin(one, "trip", "waits")
        end = await end_of(one, turn)
        assert (end["type"], end["code"], end["retryable"]) == ("error", "usage_limit", True), end
        assert end["resets_at"] == at
        standin.forget_script()
        gauge = await one.wait_for(
            lambda frame: frame["type"] == "gauge" and bool(frame.get("limits")), start=0
        )
        assert gauge["limits"][0]["resets_at"] == at
        async with place.server.device() as two:
            seen = await two.attach("trip", device_id="two")
            assert seen["held"] == {"code": "usage_limit", "until": at}
            assert [item["message_id"] for item in seen["queue"]] == [waiting["message_id"]]
            # Both offer "Continue at", and both are pressed.
            later = {"message_id": f"continue-{turn}", "not_before": at}
            told = [await device.send("trip", "Continue.", **later) for device in (one, two)]
            assert [answer["duplicate"] for answer in told] == [False, True]
            began = await two.wait_for(
                "turn_started", message_id=f"continue-{turn}", start=0, limit_s=START_S
            )
            assert began["timestamp"] >= at
            assert (await end_of(two, began["turn_id"]))["type"] == "complete"
            assert (await end_of(one, waiting["turn_id"]))["type"] == "complete"
            assert len(one.events("trip", "turn_started")) == 4
