"""What a terminal shows of a session's settings and gauges, and what it completes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from builderos.client.moments import clock_time
from builderos.client.steering import Steering
from builderos.client.wire.frames import decode

AT = "2026-12-01T09:00:00.000Z"
OFFER = {
    "models": [
        {"id": "opus", "efforts": ["low", "max"]},
        {"id": "sonnet", "efforts": ["low"], "default": True},
        {"id": "evil\x1b"},
    ],
    "modes": [{"id": "default", "kind": "ask"}, {"id": "careful", "kind": "plan"}],
    "commands": [{"name": "compact"}, {"name": "review"}],
}


def take(steering: Steering, kind: str, /, **fields: Any) -> None:
    steering.take(decode(orjson.dumps({"type": kind, "session_id": "trip"} | fields)))


def offered() -> Steering:
    steering = Steering()
    take(steering, "attached", settings={"model": None, "permission_mode": "careful"}, queue=[], held=None)
    take(steering, "agent", agent=OFFER)
    return steering


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/mo", ["/mode", "/model"]),
        ("/c", ["/compact"]),
        ("/model ", ["opus", "sonnet"]),
        ("/mode ca", ["careful"]),
        ("/effort ", ["low"]),
        ("y c", ["careful"]),
        ("m", []),
        ("/later ", []),
        ("a word ", []),
    ],
)
def test_a_word_is_completed_by_what_the_agent_offers(line: str, found: list[str]) -> None:
    assert offered().completions(line, ["/mode", "/model"]) == found


def test_the_efforts_are_those_of_the_model_that_is_set() -> None:
    steering = offered()
    take(steering, "session_updated", seq=1, settings={"model": "opus"})
    assert steering.choices("effort") == ["low", "max"]


def test_the_status_tells_settings_gauges_and_what_waits() -> None:
    steering = offered()
    limits = [{"name": "five_hour", "used_percent": 92, "resets_at": AT}]
    take(steering, "gauge", context={"used": 500, "window": 2000}, cost_usd=0.411, limits=limits)
    take(steering, "session_updated", seq=1, held={"code": "usage_limit", "until": AT})
    take(steering, "user_message", seq=2, message_id="m", content="go on", not_before=AT)
    at = clock_time(AT)
    assert steering.status() == (
        "model as the agent has it · mode careful · effort as the agent has it · context 25 % of 2,000 · $0.41"
        f" · five_hour 92 % until {at} · queue held, usage_limit, until {at} · 1 for later"
    )
    take(steering, "session_updated", seq=3, held=None)
    assert "held" not in steering.status()


def test_a_message_for_later_is_listed_until_it_runs() -> None:
    steering = Steering()
    take(
        steering,
        "attached",
        queue=[{"message_id": "a", "content": "x", "not_before": AT}, {"message_id": "b"}],
    )
    take(steering, "user_message", seq=2, message_id="c", content="y", not_before=AT)
    assert list(steering.scheduled) == ["a", "c"]
    take(steering, "turn_started", seq=3, turn_id="t", message_id="a")
    take(steering, "delivery", seq=4, message_id="c", state="cancelled")
    assert not steering.scheduled
    assert steering.last_turn is None
    take(steering, "complete", seq=5, turn_id="t")
    assert steering.last_turn == "t"


def test_a_server_that_tells_nonsense_is_no_trouble() -> None:
    steering = Steering()
    take(steering, "attached", settings=3, queue="no", held=[])
    take(steering, "agent", agent={"models": [{"id": 3}, 4], "modes": {}, "commands": [{"name": None}]})
    take(steering, "gauge", context={"used": "a", "window": 0}, limits=[{}], cost_usd=None)
    assert "\x1b" not in steering.status()
    assert steering.choices("model") == steering.choices("effort") == []
    assert steering.plan_mode() is None


def test_in_few_words() -> None:
    steering = offered()
    take(steering, "attached", settings={"permission_mode": "careful", "effort": "low"})
    take(steering, "gauge", context={"used": 50, "window": 200}, cost_usd=0.5)
    assert steering.short() == ["careful", "low", "context 25 %", "$0.50"]
    assert steering.offered("mode")[0] == ("default", "default", "")
    assert steering.offered("effort") == [("low", "low", "")]
    assert steering.commands == [("compact", ""), ("review", "")]
