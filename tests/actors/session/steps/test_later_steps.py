"""Messages for later, and a queue that is kept back."""

from __future__ import annotations

import attrs
import pytest

from actors.commands import Cancel, Close, Send, SendNow
from actors.events.conversation import UserMessage
from actors.events.session import Held, SessionUpdated
from actors.session.effects import HandOver
from actors.session.inputs import Resume, TimeCame
from actors.session.snapshot import summary, view
from actors.session.steps.later_steps import MAX_AHEAD_MS, MAX_LATE_MS, MAX_SCHEDULED
from bridgehub.protocol import events as hub
from tests.actors.core import Core

NOON = 10_000_000


@attrs.define(eq=False)
class Clocked(Core):
    """A session whose clock stands where the test puts it."""

    now_ms: int = NOON

    def step(self, *inputs: object) -> object:  # type: ignore[override]
        step = super().step()
        step.now_ms = self.now_ms
        from actors.session.steps.decide import decide

        for one in inputs:
            decide(step, one)  # type: ignore[arg-type]
        return step


def idle() -> Clocked:
    core = Clocked()
    core.do(Send("m0", "first"))
    core.give(core.ready())
    core.hear(hub.TurnDone(core.turn_id))
    return core


def at(core: Clocked, ms: int, revoked: frozenset[str] = frozenset()) -> list[str]:
    core.now_ms = ms
    return core.give(TimeCame(revoked))


def test_a_message_for_later_waits_and_blocks_nobody() -> None:
    core = idle()
    assert core.do(Send("later", "at one", not_before_ms=NOON + 500)) == ["user_message", "d:queued"]
    message = core.events[0].event
    assert isinstance(message, UserMessage)
    assert message.not_before_ms == NOON + 500
    for _ in range(2):
        (shown,) = view(core.state).queue
        assert (shown.message_id, shown.not_before_ms, shown.held) == ("later", NOON + 500, False)
        noted = summary(core.state)
        assert (noted.unfinished, noted.due_at_ms) == (False, NOON + 500)
        core.reload()
    assert core.do(Send("now", "go")) == ["user_message", "turn_started", "d:handed"]


def test_it_runs_when_its_time_comes() -> None:
    core = idle()
    core.do(Send("later", "at one", not_before_ms=NOON + 500))
    assert at(core, NOON + 499) == []
    assert at(core, NOON + 500) == ["turn_started", "d:handed"]
    assert [type(order) for order in core.orders] == [HandOver]
    assert summary(core.state).due_at_ms is None


def test_in_a_turn_it_waits_and_then_keeps_the_order() -> None:
    core = idle()
    core.do(Send("now", "go"))
    core.do(Send("later", "at one", not_before_ms=NOON + 500))
    core.do(Send("next", "then this"))
    assert at(core, NOON + 600) == []
    core.hear(hub.TurnDone(core.turn_id))
    assert core.state.turn is not None
    assert core.state.turn.message_id == "later"


def test_a_time_in_the_past_counts_as_none() -> None:
    core = idle()
    assert core.do(Send("m1", "x", not_before_ms=NOON)) == ["user_message", "turn_started", "d:handed"]
    assert core.events[0].event.not_before_ms is None  # type: ignore[union-attr]


def test_what_cannot_be_later_is_refused() -> None:
    core = idle()
    core.do(Send("m1", "x", not_before_ms=NOON + MAX_AHEAD_MS + 1))
    assert core.reply_word == "rejected bad_time"
    for number in range(MAX_SCHEDULED):
        core.do(Send(f"l{number}", "x", not_before_ms=NOON + 1 + number))
    core.do(Send("l", "x", not_before_ms=NOON + 1))
    assert core.reply_word == "rejected queue_full"
    core.do(Send("now", "x"))
    assert core.reply_word == "accepted"


def test_it_can_be_taken_back_and_run_now() -> None:
    core = idle()
    core.do(Send("a", "x", not_before_ms=NOON + 500))
    core.do(Send("b", "x", not_before_ms=NOON + 500))
    assert core.do(Cancel("a")) == ["d:cancelled"]
    assert core.do(SendNow("b"), "mac") == ["turn_started", "d:handed"]
    core.do(SendNow("b"))
    assert core.reply_word == "rejected not_queued"
    core.do(Send("plain", "x"))
    core.do(SendNow("plain"))
    assert core.reply_word == "rejected not_queued"


@pytest.mark.parametrize("why", ["late", "revoked", "restored"])
def test_it_is_kept_for_a_person_s_word(why: str) -> None:
    core = idle()
    core.do(Send("later", "x", not_before_ms=NOON + 500))
    revoked = frozenset({"key-of-phone"}) if why == "revoked" else frozenset()
    core.now_ms = NOON + 501 + (MAX_LATE_MS if why == "late" else 0)
    if why == "restored":
        core.record = attrs.evolve(core.record, epoch=core.record.epoch + 1)
    core.reload()
    assert core.give(Resume(revoked)) == ["notice"]
    assert core.events[0].event.code == "later_held"  # type: ignore[union-attr]
    for _ in range(2):
        assert [one.held for one in view(core.state).queue] == [True]
        assert summary(core.state).due_at_ms is None
        assert core.give(TimeCame(revoked)) == []
        core.reload()
    assert core.do(SendNow("later")) == ["turn_started", "d:handed"]


def test_a_session_that_only_waits_for_the_clock_may_be_closed() -> None:
    core = idle()
    core.do(Send("later", "x", not_before_ms=NOON + 500))
    core.do(Close())
    assert core.replies[-1].process_killed  # type: ignore[union-attr]


def limited(core: Clocked, code: str = "usage_limit", resets_at_ms: int | None = NOON + 1000) -> list[str]:
    """End the running turn by a limit, with one message behind it."""
    core.do(Send("m1", "go"))
    core.do(Send("m2", "then"))
    failed = hub.TurnFailed(core.turn_id, code, "no more", True, resets_at_ms, ("compact",))  # type: ignore[arg-type]
    return core.hear(failed)


@pytest.mark.parametrize("code", ["usage_limit", "context_full", "conversation_refused"])
def test_the_queue_is_held_after_an_end_that_it_would_repeat(code: str) -> None:
    core = idle()
    assert limited(core, code) == ["d:failed", f"error {code}", "session_updated"]
    assert core.events[-1].event == SessionUpdated(held=Held(code, NOON + 1000))
    for _ in range(2):
        assert view(core.state).held == Held(code, NOON + 1000)
        assert (summary(core.state).unfinished, summary(core.state).due_at_ms) == (False, NOON + 1000)
        core.reload()
    assert core.give(Resume()) == []


def test_it_goes_on_when_the_limit_is_over() -> None:
    core = idle()
    limited(core)
    assert at(core, NOON + 999) == []
    assert at(core, NOON + 1000) == ["session_updated", "turn_started", "d:handed"]
    assert view(core.state).held is None


def test_a_new_messages_success_releases_the_others() -> None:
    core = idle()
    limited(core, resets_at_ms=None)
    assert summary(core.state).due_at_ms is None
    assert core.do(Send("m3", "try")) == ["user_message", "turn_started", "d:handed"]
    end = core.hear(hub.TurnDone(core.turn_id))
    assert end == ["d:consumed", "d:answered", "complete", "session_updated", "turn_started", "d:handed"]
    assert core.state.turn is not None
    assert core.state.turn.message_id == "m2"


def test_another_failure_keeps_it_back() -> None:
    core = idle()
    limited(core)
    core.do(Send("m3", "try"))
    core.hear(hub.TurnFailed(core.turn_id, "model_error", "no", retryable=True))
    assert core.state.turn is None
    assert list(core.state.queue) == ["m2"]
