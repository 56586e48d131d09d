"""What happened to a conversation in a terminal becomes turns; two programs never write at once."""

from __future__ import annotations

import random

import attrs
import pytest

from actors.commands import (
    AskAtDesk,
    Configure,
    Decide,
    GiveBack,
    Interrupt,
    Send,
    TakeOver,
    Warm,
    WithdrawAtDesk,
)
from actors.events.codec import decode_row
from actors.events.conversation import BranchLeft, UserMessage
from actors.events.invariants import violations
from actors.events.permissions import PermissionResolved
from actors.events.session import SessionUpdated
from actors.offer import read_offer
from actors.replies import Closed, Rejected
from actors.session.effects import EndElsewhere, StartHub, StopHub, TellDesk
from actors.session.inputs import DeskSeen, FoundElsewhere, FromDevice, Resume
from actors.session.snapshot import summary
from bridgehub.desk.records import (
    Began,
    DeskEvent,
    DeskLook,
    DeskMark,
    Ended,
    Said,
    ToolCalled,
    ToolReturned,
    Where,
)
from bridgehub.protocol import events as hub
from tests.actors.core import Core

TERMINAL = Where("claude", 4211, "idle", 1, "85786")
KINDS = {"plan": "plan", "default": "ask", "acceptEdits": "edits", "auto": "auto"}
OFFER = read_offer({"modes": [{"id": name, "kind": kind} for name, kind in KINDS.items()]})
TURN = ["user_message", "turn_started", "d:handed", "d:consumed"]


def turn(key: str, *, ends: bool = True) -> list[DeskEvent]:
    """Return a turn of the desk, with a tool."""
    whole: list[DeskEvent] = [
        Began(key, 5_000, f"asks {key}"),
        ToolCalled(5_001, "t", "Bash", {"command": "ls"}),
        ToolReturned(5_002, "t", "a.txt", False),
        Said(5_003, "b", f"says {key}"),
    ]
    return [*whole, Ended(5_004)] if ends else whole


def seen(
    core: Core, *events: DeskEvent, where: Where | None = None, offset: int = 0, **more: object
) -> DeskSeen:
    """Return a look that begins where the last one ended."""
    look = DeskLook(DeskMark("native", offset or core.state.head_seq + 1), where, tuple(events))
    return DeskSeen(core.state.desk, look, **more)  # type: ignore[arg-type]


def finished() -> Core:
    """A session whose first turn has ended, with a warm hub."""
    core = Core()
    core.do(Send("m1", "hello"))
    core.give(core.ready())
    turn_id = core.turn_id
    core.hear(hub.Consumed(turn_id))
    core.hear(hub.TurnDone(turn_id))
    return core


def journal(core: Core) -> list[str]:
    return [one.detail for one in violations(decode_row(row) for row in core.rows)]


def test_growth_is_journalled_before_the_message_that_saw_it() -> None:
    core = finished()
    told = core.give(seen(core, *turn("a")), core.given(Send("m2", "next")))
    parts = ["tool_started", "tool_finished", "message", "d:answered", "complete"]
    assert told == [*TURN, *parts, "user_message", "turn_started", "d:handed"]
    assert [one.at_ms for one in core.events][:9] == [5_000] * 4 + [5_001, 5_002, 5_003, 5_004, 5_004]
    assert [one.device_id for one in core.events][:2] == ["desk", "desk"]
    assert core.state.unsure
    assert journal(core) == []
    again = DeskSeen(None, DeskLook(DeskMark("native", 5), None, tuple(turn("a"))))
    assert core.give(again) == []  # a look that began before the last one ended


def test_open_terminal_refuses_messages_and_holds_the_queue() -> None:
    core = finished()
    core.give(seen(core, where=TERMINAL))
    assert [type(one) for one in core.effects if isinstance(one, StopHub)] == [StopHub]
    assert core.do(Send("m2", "no")) == []
    refused = core.replies[-1]
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.where) == ("open_elsewhere", TERMINAL)
    core.do(Warm())
    assert not any(isinstance(one, StartHub) for one in core.effects)
    core.give(seen(core))
    assert core.do(Send("m2", "yes")) == ["user_message", "turn_started", "d:handed"]


def test_turn_of_the_desk_is_followed_and_not_stopped_here() -> None:
    core = finished()
    core.give(seen(core, *turn("a", ends=False), where=TERMINAL))
    assert core.state.word == "running"
    core.reload()
    core.do(Interrupt())
    assert isinstance(core.replies[-1], Rejected)
    core.give(Resume())
    assert core.state.is_at_desk
    assert core.give(seen(core, Said(6_000, "b2", "more"), Ended(6_001), where=TERMINAL)) == [
        "message",
        "d:answered",
        "complete",
    ]
    assert journal(core) == []


def test_terminal_found_at_the_hand_over_fails_the_message() -> None:
    core = finished()
    core.do(Send("m2", "go on"))
    turn_id = core.turn_id
    told = core.give(FoundElsewhere(turn_id, TERMINAL))
    assert told == ["d:failed", "error open_elsewhere", "session_updated"]
    assert core.state.held is not None
    assert core.state.hub_id is None
    assert core.give(FoundElsewhere(turn_id, TERMINAL)) == []


def test_a_terminal_in_the_middle_of_our_turn_waits_for_its_end() -> None:
    core = finished()
    core.do(Send("m2", "go on"))
    turn_id = core.turn_id
    core.hear(hub.Consumed(turn_id))
    assert core.give(seen(core, *turn("a"), where=TERMINAL)) == []
    assert core.state.unsure
    assert core.hub_id
    core.hear(hub.TurnDone(turn_id))
    assert core.give(seen(core, *turn("a"), where=TERMINAL))[:4] == TURN
    assert core.state.hub_id is None
    assert journal(core) == []


def test_take_over_ends_a_working_terminal_by_force_only() -> None:
    core = finished()
    core.give(seen(core, where=attrs.evolve(TERMINAL, status="busy")))
    core.do(TakeOver())
    assert isinstance(core.replies[-1], Rejected)
    assert core.replies[-1].code == "busy"
    assert core.do(TakeOver(force=True)) == ["session_updated"]
    (told,) = core.events
    assert isinstance(told.event, SessionUpdated)
    assert told.event.where is not None
    assert told.event.where.ending_by == "phone"
    assert any(isinstance(one, EndElsewhere) for one in core.effects)
    core.give(seen(core, where=attrs.evolve(TERMINAL, pid=None)))
    core.do(TakeOver(force=True))
    assert isinstance(core.replies[-1], Rejected)


def test_a_terminal_that_asks_makes_the_session_wait() -> None:
    core = finished()
    core.give(seen(core, *turn("a", ends=False), where=TERMINAL))
    core.give(seen(core, where=Where("claude", 4211, "waiting", 1, "85786")))
    assert summary(core.state).state == "waiting"
    core.give(seen(core, where=Where("claude", 4211, "busy", 1, "85786")))
    assert summary(core.state).state == "running"


def test_question_of_a_terminal_is_decided_once_on_either_side() -> None:
    core = finished()
    ask = AskAtDesk("desk-1", "Bash", {"command": "ls"}, None, "command", "Run ls")
    core.do(ask, "desk")
    assert isinstance(core.replies[-1], Rejected)  # its turn is not journalled yet
    core.give(seen(core, *turn("a", ends=False), where=TERMINAL))
    assert core.do(ask, "desk") == ["permission_requested"]
    assert core.state.word == "waiting"
    assert core.do(Decide("desk-1", "allow")) == ["permission_resolved"]
    assert [one.resolved.decision for one in core.effects if isinstance(one, TellDesk)] == ["allow"]
    core.do(WithdrawAtDesk("desk-1"), "desk")
    assert core.events == []
    core.do(attrs.evolve(ask, request_id="desk-2"), "desk")
    core.do(WithdrawAtDesk("desk-2"), "desk")
    (told,) = core.events
    assert told.event == PermissionResolved("desk-2", "cancelled", "desk")
    core.do(attrs.evolve(ask, request_id="desk-3"), "desk")
    assert core.give(Resume()) == ["permission_resolved"]  # at a server's start
    assert journal(core) == []


@pytest.mark.parametrize("ran", [True, False])
def test_a_device_hears_that_the_terminal_allowed_what_it_denied(*, ran: bool) -> None:
    core = finished()
    core.give(seen(core, Began("a", 5_000, "asks"), where=TERMINAL))
    core.do(AskAtDesk("desk-1", "Bash", {"command": "ls"}, None, "command", "Run ls"), "desk")
    core.do(Decide("desk-1", "deny"))
    core.reload()
    called, returned = ToolCalled(5_001, "t", "Bash", {}), ToolReturned(5_002, "t", "a.txt", not ran)
    words = core.give(seen(core, called, returned, where=TERMINAL))
    assert words == ["tool_started", "tool_finished", *(["notice"] if ran else [])]


def test_rewind_marks_what_was_left() -> None:
    core = finished()
    core.give(seen(core, *turn("a")))
    assert core.give(seen(core, *turn("b"), left=("desk-a",)))[-1] == "branch_left"
    assert core.events[-1].event == BranchLeft(("desk-a",))
    assert list(core.state.left) == ["desk-a"]


def test_a_model_chosen_in_the_terminal_is_the_sessions_setting() -> None:
    core = finished()
    look = DeskLook(DeskMark("native", 9), TERMINAL, tuple(turn("a")), settings={"model": "two"})
    told = core.give(DeskSeen(core.state.desk, look))
    assert told.count("session_updated") == 1
    assert (core.state.settings.model, core.state.settings.effort) == ("two", None)
    again = attrs.evolve(look, mark=DeskMark("native", 10), events=())
    assert core.give(DeskSeen(core.state.desk, again)) == []
    assert journal(core) == []


def test_a_mode_of_the_terminal_counts_if_it_allows_less() -> None:
    core = finished()
    core.state.offer = OFFER

    def look(mode: str) -> list[str]:
        told = DeskLook(core.state.desk, settings={"permission_mode": mode})
        return core.give(DeskSeen(core.state.desk, told))

    def mode() -> str | None:
        core.reload()
        core.state.offer = OFFER
        return core.state.settings.permission_mode

    assert look("default") == [], "it is what the agent does anyway"
    assert (look("plan"), mode(), core.events[-1].device_id) == (["session_updated"], "plan", "desk")
    assert (look("acceptEdits"), mode()) == (["session_updated"], None), "not more than a device chose"
    assert (look("unheard of"), mode()) == ([], None)
    core.do(Configure({"permission_mode": "acceptEdits"}))
    assert (look("auto"), mode()) == ([], "acceptEdits")
    assert (look("default"), mode()) == (["session_updated"], "default")
    assert (look("acceptEdits"), mode()) == (["session_updated"], "acceptEdits")
    core.do(Configure({"permission_mode": "plan"}))
    assert (look("default"), mode()) == ([], "plan")


def test_session_is_given_back_between_turns_only() -> None:
    core = finished()
    core.do(Send("m2", "go on"))
    core.do(GiveBack())
    assert isinstance(core.replies[-1], Rejected)
    core.hear(hub.TurnDone(core.turn_id))
    core.do(GiveBack())
    assert isinstance(core.replies[-1], Closed)
    assert core.state.hub_id is None


@attrs.define(eq=False)
class Both:
    """One conversation, a terminal that may have it open, and the session here."""

    rng: random.Random
    core: Core = attrs.field(factory=Core)
    added: list[list[DeskEvent]] = attrs.field(factory=list)
    taken: int = 0
    sent: int = 0
    where: Where | None = None

    def look(self, *more: FromDevice) -> None:
        """Look, and give what comes with the look in one batch."""
        core = self.core
        events = [one for each in self.added[self.taken :] for one in each]
        look = DeskLook(DeskMark("native", len(self.added)), self.where, tuple(events))
        core.give(DeskSeen(core.state.desk, look), *more)
        if core.state.desk is not None and core.state.desk.offset == len(self.added):
            self.taken = len(self.added)
        if any(isinstance(one, EndElsewhere) for one in core.effects):
            self.where = None

    def act(self, act: str) -> None:
        """Let one thing happen."""
        core = self.core
        match act:
            case "desk":
                self.where = self.where or TERMINAL
                self.added.append(turn(f"k{len(self.added) + 1}"))
            case "send":
                self.sent += 1
                self.look(core.given(Send(f"m{self.sent}", "hello")))
            case "take":
                self.look(core.given(TakeOver(force=self.rng.random() < 0.5)))
            case "look":
                self.look()
            case "quit":
                self.where = None
            case "reload":
                core.reload()
            case "crash" if core.state.hub_id is not None:
                core.give(core.gone())
            case "hub" if core.state.hub_id is not None and core.state.turn is not None:
                self.hub()

    def hub(self) -> None:
        """Bring the running turn on: its message is handed over, or its answer comes."""
        core, turn_id = self.core, self.core.turn_id
        assert core.state.turn is not None
        core.hub_seq = core.state.hub_seq
        if core.state.turn.consumed:
            core.hear(hub.TextPiece(turn_id, "text", "b", "hi"), hub.TurnDone(turn_id))
        elif self.where is not None:
            core.give(FoundElsewhere(turn_id, self.where))
        else:
            core.give(core.ready())
            core.hear(hub.Consumed(turn_id))


ACTS = ("desk", "desk", "send", "look", "quit", "hub", "hub", "take", "reload", "crash")


@pytest.mark.parametrize("seed", range(200))
def test_random_interleavings_keep_the_journal_whole(seed: int) -> None:
    """Terminals, messages, take-overs, crashes and looks in any order: nothing is lost, doubled, or out of turn."""
    both = Both(random.Random(seed))
    core = both.core
    for _ in range(60):
        both.act(both.rng.choice(ACTS))
    both.where = None
    both.look()
    while core.state.turn is not None:
        both.hub()
    both.look()
    assert journal(core) == []
    told = [decode_row(row) for row in core.rows]
    said = [one.event.content for one in told if isinstance(one.event, UserMessage)]
    desk = [one for one in said if one != "hello"]
    assert desk == [f"asks k{number + 1}" for number in range(len(both.added))]
    assert not core.state.queue or core.state.held is not None
