"""A session that moves to another machine: what ends, what goes along, and what runs there."""

from __future__ import annotations

import pytest

from actors.commands import Interrupt, Send
from actors.events.conversation import Interrupted, Notice, TurnError
from actors.session.effects import HandOver, StartHub
from actors.session.inputs import Resume
from actors.session.snapshot import summary
from actors.session.steps.move_steps import leave_machine
from bridgehub.protocol import events as hub
from tests.actors.core import Core, word_of

MEMORY = {"native": "conversation"}


def leave(core: Core, *, is_away: bool = False) -> list[str]:
    """Move the session from `a` to `b`, and load it there; return the words of what the move added."""
    step = core.step()
    leave_machine(step, home="a", to="b", by="phone", is_away=is_away)
    core.commit(step)
    core.reload()
    return [word_of(item.event) for item in step.events]


def idle() -> Core:
    core = Core()
    core.do(Send("m0", "first"))
    core.give(core.ready())
    core.hear(hub.Consumed(core.turn_id), hub.AgentMemory(core.turn_id, MEMORY), hub.TurnDone(core.turn_id))
    assert core.state.agent_memory == MEMORY
    return core


def runs_next(core: Core, message_id: str) -> None:
    """The new machine finds a hub that nobody has started, starts one, and hands the message over once."""
    assert core.state.turn is not None
    assert core.state.turn.message_id == message_id
    assert core.give(Resume(), core.gone(reason="never_started")) == []
    assert [type(one) for one in core.effects if isinstance(one, StartHub)] == [StartHub]
    core.give(core.ready())
    assert [one.message_id for one in core.effects if isinstance(one, HandOver)] == [message_id]


@pytest.mark.parametrize("is_away", [False, True])
def test_an_idle_session_leaves_its_conversation_behind(is_away: bool) -> None:
    core = idle()
    renewals = core.state.renewals
    assert leave(core, is_away=is_away) == ["notice"]
    notice = core.events[0]
    assert isinstance(notice.event, Notice)
    assert (notice.event.code, notice.device_id, notice.turn_id) == ("moved", "phone", None)
    assert ("not stored" in notice.event.content) is is_away
    state = core.state
    assert (state.hub_id, state.agent_memory, state.leaving, state.turn) == (None, None, {}, None)
    assert state.renewals == renewals + 1, (
        "so that the agent cannot be given an old conversation of that name"
    )
    assert not summary(state).unfinished
    core.do(Send("m1", "again"))
    assert core.state.turn is not None


def test_a_turn_is_interrupted_by_who_moves_it() -> None:
    core = idle()
    core.do(Send("m1", "work"))
    core.hear(hub.Consumed(core.turn_id))
    core.do(Send("m2", "next"))
    assert leave(core) == ["notice", "d:interrupted", "interrupted", "turn_started", "d:handed"]
    ended = core.events[2]
    assert isinstance(ended.event, Interrupted)
    assert ended.device_id == "phone"
    runs_next(core, "m2")


def test_nobody_knows_how_far_the_agent_of_a_lost_machine_came() -> None:
    core = idle()
    core.do(Send("m1", "work"))
    core.do(Send("m2", "next"))
    words = leave(core, is_away=True)
    assert words == ["notice", "d:unknown", "error unknown_outcome", "turn_started", "d:handed"]
    assert "m1" in core.state.unknown, "a person decides"
    runs_next(core, "m2")


def test_the_turn_of_a_lost_machine_ends_with_an_error() -> None:
    core = idle()
    core.do(Send("m1", "work"))
    core.hear(hub.Consumed(core.turn_id))
    assert leave(core, is_away=True) == ["notice", "d:failed", "error agent_exited"]
    error = core.events[2].event
    assert isinstance(error, TurnError)
    assert "its machine, a, is away" in error.content
    assert core.state.turn is None


def test_who_had_pressed_stop_stopped_it() -> None:
    core = idle()
    core.do(Send("m1", "work"))
    core.hear(hub.Consumed(core.turn_id))
    core.do(Interrupt(), "mac")
    assert leave(core, is_away=True) == ["notice", "d:interrupted", "interrupted"]
    assert core.events[2].device_id == "mac"


def test_messages_for_later_go_along() -> None:
    core = idle()
    core.do(Send("later", "at one", not_before_ms=10_000_000))
    assert leave(core) == ["notice"]
    assert summary(core.state).due_at_ms == 10_000_000
    assert list(core.state.queue) == ["later"]
