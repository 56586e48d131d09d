"""An undo, as the table of docs/internals/architecture.md has it; and what checkpoints count for."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest

from actors.commands import Close, Send, Undo
from actors.events.session import Checkpoint, Undone, UndoStarted
from actors.replies import IfHead, Rejected
from actors.session.effects import CarryOutUndo, PlanUndo
from actors.session.inputs import HubGone, Resume, UndoCarried, UndoPlanned
from actors.session.snapshot import summary
from actors.session.undoing import works_in
from bridgehub.desk.records import Where
from bridgehub.protocol import events as hub
from tests.actors.core import Core, fresh_record


def finished() -> Core:
    """A session whose first turn has ended."""
    core = Core()
    core.do(Send("m1", "hello"))
    core.give(core.ready())
    turn = core.turn_id
    core.hear(hub.Consumed(turn))
    core.hear(hub.TurnDone(turn))
    return core


def ask(core: Core, **what: object) -> str:
    """Ask for an undo; return the id under which it is planned."""
    core.do(Undo(**{"turn_id": "t1", **what}))  # type: ignore[arg-type]
    (plan,) = core.orders
    assert isinstance(plan, PlanUndo)
    return plan.undo_id


def test_an_undo_is_planned_told_carried_out_and_told_again() -> None:
    core = finished()
    undo_id = ask(core)
    assert core.events == []
    assert core.give(UndoPlanned(undo_id, "c1")) == ["undo_started"]
    (told,) = core.events
    assert told.event == UndoStarted(undo_id, "t1", "phone", "c1")
    assert (told.turn_id, told.device_id) == (None, "phone")
    assert core.orders == [CarryOutUndo(undo_id)]
    assert core.give(UndoCarried(undo_id, ("a",), ("b",))) == ["undone"]
    assert [one.event for one in core.events] == [Undone(undo_id, ("a",), ("b",))]
    assert core.state.undo is None


def test_an_impossible_one_leaves_no_trace() -> None:
    core = finished()
    undo_id = ask(core)
    assert core.do(Send("m2", "meanwhile")) == ["user_message", "d:queued"]
    refusal = Rejected("nothing_to_undo", "nothing", conflicts=("b",))
    assert core.give(UndoPlanned(undo_id, refusal=refusal)) == ["turn_started", "d:handed"]
    assert core.replies[-1] == refusal


def test_messages_wait_for_the_end_of_an_undo() -> None:
    core = finished()
    undo_id = ask(core)
    core.give(UndoPlanned(undo_id, "c1"))
    assert core.do(Send("m2", "next")) == ["user_message", "d:queued"]
    assert core.give(UndoCarried(undo_id, ("a",))) == ["undone", "turn_started", "d:handed"]


@pytest.mark.parametrize("when", ["a turn runs", "one is planned", "one is carried out"])
def test_two_things_at_once_are_refused(when: str) -> None:
    core = finished()
    if when == "a turn runs":
        core.do(Send("m2", "more"))
    else:
        undo_id = ask(core)
        if when == "one is carried out":
            core.give(UndoPlanned(undo_id, "c1"))
    assert core.do(Undo(turn_id="t1", force=True)) == []
    assert core.reply_word == "rejected busy"


def test_a_crash_forgets_a_planned_undo_and_repeats_a_begun_one() -> None:
    core = finished()
    undo_id = ask(core)
    core.do(Send("m2", "next"))
    core.reload()
    assert core.give(Resume()) == ["turn_started", "d:handed"]
    assert core.give(UndoPlanned(undo_id, "c1")) == []

    core = finished()
    undo_id = ask(core)
    core.give(UndoPlanned(undo_id, "c1"))
    core.reload()
    assert core.give(Resume()) == []
    assert core.orders == [CarryOutUndo(undo_id)]
    assert core.give(UndoCarried(undo_id, ("a",))) == ["undone"]
    assert core.give(UndoCarried(undo_id, ("a",))) == []


def test_an_undo_that_broke_off_says_so_and_ends() -> None:
    core = finished()
    undo_id = ask(core)
    core.give(UndoPlanned(undo_id, "c1"))
    assert core.give(UndoCarried(undo_id, failure="the plan is gone")) == ["notice", "undone"]


def test_a_session_with_an_undo_is_unfinished() -> None:
    core = finished()
    undo_id = ask(core)
    core.give(UndoPlanned(undo_id, "c1"))
    assert core.record.summary is not None
    assert core.record.summary.unfinished
    core.give(UndoCarried(undo_id))
    assert not core.record.summary.unfinished


def test_the_agent_is_told_with_its_next_message_and_once() -> None:
    core = finished()
    for number in range(2):
        undo_id = ask(core)
        core.give(UndoPlanned(undo_id, "c1"))
        core.give(UndoCarried(undo_id, tuple(f"{number}-{file}" for file in range(15))))
    assert len(core.state.undone) == 20
    assert core.state.undone_more == 10
    core.do(Send("m2", "/compact"))
    core.hear(hub.Consumed(core.turn_id))
    assert core.state.undone, "a command takes no words along"
    core.hear(hub.TurnDone(core.turn_id))
    core.do(Send("m3", "go on"))
    core.reload()
    assert len(core.state.undone) == 20
    core.hear(hub.Consumed(core.turn_id))
    assert (core.state.undone, core.state.undone_more) == ([], 0)


def checkpoint(position: str, of_turn: str = "t") -> hub.Checkpointed:
    return hub.Checkpointed(None, of_turn, f"c-{position}", position)  # type: ignore[arg-type]


def test_a_checkpoint_is_outside_the_turn_and_proves_nothing() -> None:
    core = Core()
    core.do(Send("m1", "hello"))
    core.give(core.ready())
    turn = core.turn_id
    assert core.hear(checkpoint("before", turn)) == ["checkpoint"]
    assert core.events[0].turn_id is None
    assert core.state.turn is not None
    assert not core.state.turn.consumed
    core.hear(hub.Consumed(turn), hub.TurnDone(turn))
    assert core.hear(checkpoint("after", turn)) == ["checkpoint"], "in idle too"
    assert core.events[0].event == Checkpoint(turn, "c-after", "after")


def test_a_checkpoint_does_not_count_for_if_head() -> None:
    core = finished()
    seq = core.state.head_seq
    core.hear(checkpoint("after"), hub.Noticed(None, "no_checkpoint", "it took too long"))
    assert core.do(Send("m2", "next", if_head=IfHead(1, seq)))[0] == "user_message"


def test_the_next_hub_knows_which_turn_lacks_a_checkpoint() -> None:
    core = finished()
    core.hear(checkpoint("before", "t"))
    assert core.state.unsaved == ("t", "c-before")
    core.do(Close())
    core.give(HubGone("h", "died"))
    core.reload()
    assert core.state.unsaved == ("t", "c-before")
    core.do(Send("m2", "next"))
    core.give(core.ready())
    core.hub_seq = 0
    core.hear(attrs.evolve(checkpoint("after", "t"), late=True))
    assert core.state.unsaved is None


@pytest.mark.parametrize("folder", ["/w", "/w/", "/w/sub", "/"])
@pytest.mark.parametrize("work", ["turn", "background"])
def test_a_session_whose_agent_works_in_the_folder_is_in_the_way(work: str, folder: str) -> None:
    core = Core()
    core.do(Send("m1", "hello"))
    core.give(core.ready())
    if work == "background":
        core.hear(hub.Consumed(core.turn_id))
        core.hear(hub.TaskBegan(core.turn_id, "k", "dig", "echo", background=True))
        core.hear(hub.TurnDone(core.turn_id))
        assert core.state.word == "idle"
    core.state.snapshot_kept = False  # the record has what the last append with a snapshot said
    record = attrs.evolve(fresh_record(), summary=summary(core.state))
    assert works_in(record, folder)
    assert not works_in(record, "/w2")


def test_a_session_at_rest_is_not_in_the_way() -> None:
    record = attrs.evolve(fresh_record(), summary=summary(finished().state))
    assert not works_in(record, "/w")
    assert not works_in(fresh_record(), "/w")


@pytest.mark.parametrize(("status", "refused"), [("idle", False), ("busy", True), ("waiting", True)])
def test_a_program_in_a_terminal_that_works_is_in_the_way(
    status: Literal["idle", "busy", "waiting"], refused: bool
) -> None:
    core = finished()
    core.state.where = Where("claude", 4211, status, 1)
    core.do(Undo(turn_id="t1"))
    assert (core.state.planning is None) == refused
    if refused:
        assert core.reply_word == "rejected busy"
        ask(core, force=True)
