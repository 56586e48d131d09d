"""A terminal that shares the agent's program: its turns, words and answers become those of the session."""

from __future__ import annotations

from actors.commands import Decide, Interrupt, Send
from actors.events.conversation import Interrupted, Notice, TurnStarted, UserMessage
from actors.events.permissions import PermissionResolved
from actors.events.session import SessionUpdated
from actors.session.effects import SendToHub
from actors.session.inputs import IdleTooLong
from bridgehub.desk.records import Said
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import Decided, InterruptTurn
from tests.actors.core import Core
from tests.actors.session.steps.test_desk_steps import TURN, seen, turn
from tests.actors.session.steps.test_hub_steps import NEXT, OPTIONS, in_phase

LIVE = "desk-native"
BEGAN = hub.TurnBegan(LIVE, is_desk=True, said="from the desk")


def in_live_turn() -> Core:
    core = in_phase("idle")
    assert core.hear(BEGAN) == TURN
    return core


def test_a_terminals_turn_streams_and_takes_messages() -> None:
    core = in_live_turn()
    message = core.events[0]
    assert (message.event, message.device_id) == (UserMessage(LIVE, "from the desk"), "desk")
    assert core.events[1].event == TurnStarted(LIVE, "desk")
    assert not core.state.is_at_desk
    assert core.hear(hub.TextPiece(LIVE, "text", "b", "an")) == ["message"]
    assert core.do(Send("m2", "then")) == ["user_message", "d:queued"]
    core.reload()
    assert core.hear(hub.TextPiece(LIVE, "text", "b", "swer")) == ["message"]
    assert core.hear(hub.TurnDone(LIVE)) == ["d:answered", "complete", *NEXT]


def test_a_turn_read_from_the_record_is_not_taken_from_the_hub() -> None:
    core = in_phase("idle")
    core.give(seen(core, *turn("native")))
    assert core.state.turn is None
    core.reload()
    assert core.hear(BEGAN) == []


def test_a_new_link_leaves_the_turn_running() -> None:
    core = in_live_turn()
    core.give(core.ready("another"))
    assert core.state.turn is not None
    assert core.state.turn.turn_id == LIVE


def test_a_device_answers_and_stops_the_turn_through_the_hub() -> None:
    core = in_live_turn()
    core.hear(hub.PermissionAsked(LIVE, "p", "bash", {}, OPTIONS))
    core.do(Decide("p", "allow"))
    assert SendToHub(Decided("p", "allow")) in core.effects
    core.do(Interrupt())
    assert SendToHub(InterruptTurn(LIVE)) in core.effects


def test_an_answer_in_the_terminal_closes_the_request() -> None:
    core = in_live_turn()
    core.hear(hub.PermissionAsked(LIVE, "p", "bash", {}, OPTIONS))
    assert core.hear(hub.PermissionSettled(LIVE, "p")) == ["permission_resolved"]
    assert core.events[-1].event == PermissionResolved("p", "cancelled", "desk")
    assert core.hear(hub.PermissionSettled(LIVE, "p")) == []


def test_a_device_whose_answer_came_second_is_notified() -> None:
    core = in_live_turn()
    core.hear(hub.PermissionAsked(LIVE, "p", "bash", {}, OPTIONS))
    core.do(Decide("p", "deny"))
    assert core.hear(hub.PermissionSettled(LIVE, "p")) == ["notice"]
    told = core.events[-1].event
    assert isinstance(told, Notice)
    assert told.code == "answered_at_desk"


def test_words_in_the_terminal_join_a_turn_of_a_device() -> None:
    core = in_phase("consumed")
    said = hub.PersonSaid(core.turn_id, "desk-item", "and this", "desk-other")
    assert core.hear(said) == ["user_message", "d:handed", "d:consumed"]
    assert core.events[0].device_id == "desk"
    assert core.hear(hub.TurnDone(core.turn_id))[:1] == ["d:answered"]


def test_a_turn_stopped_in_the_terminal_says_so() -> None:
    core = in_live_turn()
    core.hear(hub.TurnStopped(LIVE, at_desk=True))
    assert core.events[-1].event == Interrupted("desk")


def test_the_record_does_not_tell_again_what_the_hub_told() -> None:
    core = in_live_turn()
    core.hear(hub.TurnDone(LIVE))
    assert list(core.state.live) == [LIVE]
    core.give(seen(core, *turn("next")))
    assert list(core.state.live) == [LIVE, "desk-next"], "the last rows of each may come late"


def test_a_turn_that_the_record_told_first_stays_the_records() -> None:
    core = in_phase("idle")
    core.give(seen(core, *turn("native", ends=False)))
    assert core.state.is_at_desk
    assert core.hear(BEGAN, hub.TextPiece(LIVE, "text", "b", "twice"), hub.TurnDone(LIVE)) == []
    assert core.give(seen(core, Said(6_000, "c", "once"))) == ["message"]


def test_a_hub_that_a_terminal_shares_is_not_ended_as_idle() -> None:
    core = in_phase("idle")
    assert core.hear(hub.Joined(None, is_joined=True)) == []
    assert core.state.joined
    core.reload()
    assert core.state.joined
    core.give(IdleTooLong())
    assert not core.state.joined, "a hub that is let go is shared by nobody"


def test_a_title_given_in_the_terminal_is_the_sessions() -> None:
    core = in_phase("idle")
    assert core.hear(hub.Titled(None, "A trip")) == ["session_updated"]
    assert core.events[-1].event == SessionUpdated(title="A trip")
    assert core.hear(hub.Titled(None, "A trip")) == []
