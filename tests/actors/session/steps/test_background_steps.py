"""Work between turns, in the table of `docs/internals/architecture.md`, "Work between turns", row by row."""

from __future__ import annotations

import attrs
import pytest

from actors.commands import Close, Interrupt, Send, StopTask
from actors.events.conversation import Notice, TurnStarted
from actors.events.work import TaskFinished
from actors.replies import IfHead
from actors.session.effects import KillHub, SendToHub
from actors.session.inputs import MarkFailed
from actors.session.snapshot import restore, summary, view
from actors.session.steps.background_steps import MAX_BACKGROUND
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import InterruptTurn
from bridgehub.protocol.messages import StopTask as HubStopTask
from tests.actors.core import Core
from tests.actors.session.steps.test_hub_steps import NEXT, OPTIONS, in_phase

OWN = "hub-7"


def in_own_turn() -> Core:
    """Return an idle session whose agent has begun by itself."""
    core = in_phase("idle")
    assert core.hear(hub.TurnBegan(OWN)) == ["turn_started"]
    return core


def with_background(core: Core, task_id: str = "k") -> Core:
    turn = core.state.turn
    turn_id = None if turn is None else turn.turn_id
    assert core.hear(hub.TaskBegan(turn_id, task_id, "dig", "echo", background=True)) == ["task_started"]
    return core


def test_a_turn_without_a_message_has_no_delivery_and_one_end() -> None:
    core = in_own_turn()
    assert core.events[0].event == TurnStarted(None, "background")
    assert (core.turn_id, core.state.word) == (OWN, "running")
    count = core.state.message_count
    words = core.hear(hub.TextPiece(OWN, "text", "b", "woken"), hub.ToolBegan(OWN, "x", "bash", {}))
    assert words == ["message", "tool_started"]
    assert core.hear(hub.PermissionAsked(OWN, "p", "bash", {}, OPTIONS)) == ["permission_requested"]
    assert core.state.word == "waiting"
    core.reload()
    assert core.hear(hub.TurnDone(OWN)) == ["permission_resolved", "complete"]
    assert (core.state.message_count, core.state.word) == (count, "idle")


def test_messages_queue_behind_it_and_run_after_it() -> None:
    core = in_own_turn()
    core.state.can_steer = True
    core.do(Send("m1", "now", mode="steer"))
    assert core.reply_word == "rejected cannot_steer"
    assert core.do(Send("m2", "then")) == ["user_message", "d:queued"]
    assert core.hear(hub.TurnDone(OWN)) == ["complete", *NEXT]


@pytest.mark.parametrize("end", [hub.TurnStopped(OWN), hub.TurnDone(OWN)])
def test_it_can_be_interrupted(end: hub.HubEvent) -> None:
    core = in_own_turn()
    assert core.do(Interrupt()) == []
    assert core.orders == [SendToHub(InterruptTurn(OWN))]
    core.reload()
    core.give(core.ready("t0"))
    assert SendToHub(InterruptTurn(OWN)) in core.orders
    assert core.hear(end)[-1] in ("interrupted", "complete")


def test_a_new_link_judges_nothing_of_it() -> None:
    core = in_own_turn()
    core.reload()
    assert core.give(core.ready("some turn before")) == []
    assert core.orders == []
    assert core.hear(hub.TurnDone(OWN)) == ["complete"]


@pytest.mark.parametrize("how", ["gone", "garbage", "failed"])
def test_it_ends_with_its_hub(how: str) -> None:
    core = with_background(in_own_turn())
    if how == "failed":
        words = core.give(MarkFailed("a defect"))
    else:
        words = core.give(core.gone(reason="garbage" if how == "garbage" else "died"))
    assert words[:2] == ["task_finished", f"error agent_{'protocol' if how == 'garbage' else 'exited'}"]
    assert not core.state.background


def test_work_while_a_message_is_on_its_way_belongs_to_it() -> None:
    core = in_phase("handed", reused=True)
    turn = core.turn_id
    assert core.hear(hub.TurnBegan(OWN)) == []
    core.reload()
    told = core.hear(
        hub.TextPiece(OWN, "text", "b", "by myself"),
        hub.PermissionAsked(OWN, "p", "bash", {}, OPTIONS),
        hub.TaskBegan(OWN, "k", "dig", "echo"),
    )
    assert told == ["message", "permission_requested", "task_started"]
    assert {item.turn_id for item in core.events} == {turn}
    assert core.hear(hub.TurnFailed(OWN, "timeout", "slow", retryable=True)) == ["notice"]
    assert core.hear(hub.TextPiece(OWN, "text", "b", "too late")) == []
    assert core.hear(hub.Consumed(turn), hub.TurnDone(turn))[0] == "d:consumed"


def test_background_work_ends_in_any_turn_or_none() -> None:
    core = with_background(in_phase("consumed"), "k1")
    with_background(core, "k2")
    turn = core.turn_id
    assert core.hear(hub.TurnDone(turn)) == ["d:answered", "complete"]
    assert list(core.state.background) == ["k1", "k2"]
    assert [one.task_id for one in view(core.state).background] == ["k1", "k2"]
    assert summary(core.state).unfinished
    core.reload()
    assert core.hear(hub.TaskEnded(None, "k1", "succeeded", "done")) == ["task_finished"]
    assert core.events[0].turn_id is None
    core.do(Send("m5", "next"))
    assert core.hear(hub.TaskProgressed(None, "k2", "half"), hub.TaskEnded(None, "k2", "failed")) == [
        "task_progress",
        "task_finished",
    ]
    assert {item.turn_id for item in core.events} == {core.turn_id}
    assert core.state.turn is not None
    assert not core.state.turn.consumed, "it proves nothing about the prompt"
    assert restore(core.record).background == {}


def test_it_does_not_count_for_if_head() -> None:
    core = with_background(in_phase("idle"))
    head = core.state.head_seq
    core.hear(hub.TaskProgressed(None, "k", "half"), hub.TaskEnded(None, "k", "succeeded"))
    core.do(Send("m5", "x", if_head=IfHead(core.state.epoch, head)), "mac")
    assert core.reply_word == "accepted"


def test_stopping_a_turn_closes_what_it_began_in_the_background() -> None:
    core = with_background(in_phase("idle"), "earlier")
    core.do(Send("m5", "x"))
    core.hear(hub.Consumed(core.turn_id))
    with_background(core, "its own")
    core.do(Interrupt())
    words = core.hear(hub.TurnStopped(core.turn_id))
    assert words == ["task_finished", "d:interrupted", "interrupted"]
    assert list(core.state.background) == ["earlier"]


def test_tasks_are_stopped_again_on_each_new_link() -> None:
    core = with_background(with_background(in_phase("idle"), "k1"), "k2")
    core.do(StopTask("k9"))
    assert core.reply_word == "rejected unknown_task"
    assert core.do(StopTask("k1")) == []
    assert core.orders == [SendToHub(HubStopTask("k1"))]
    core.reload()
    core.give(core.ready("t"))
    assert core.orders == [SendToHub(HubStopTask("k1"))]
    core.do(Interrupt())
    assert core.reply_word == "rejected nothing_to_interrupt"
    core.do(Interrupt(background=True))
    assert core.orders == [SendToHub(HubStopTask("k1")), SendToHub(HubStopTask("k2"))]
    core.hear(hub.TaskEnded(None, "k1", "cancelled"), hub.TaskEnded(None, "k2", "cancelled"))
    core.do(Interrupt(background=True))
    assert core.reply_word == "rejected nothing_to_interrupt"


def test_its_hub_is_busy_and_takes_it_along() -> None:
    core = with_background(in_phase("idle"))
    core.do(Close())
    assert core.orders == []
    hub_id = core.hub_id
    gap = core.reported(hub.TaskProgressed(None, "k", "x"), span=1)
    core.hub_seq += 5
    core.give(gap, core.reported(hub.TaskProgressed(None, "k", "y")))
    assert KillHub(hub_id) in core.effects
    (ended,) = [item.event for item in core.events if isinstance(item.event, TaskFinished)]
    assert ended.state == "cancelled"
    assert not core.state.background


def filled() -> Core:
    """Return a session with as many tasks in the background as it can have."""
    core = in_phase("idle")
    began = [hub.TaskBegan(None, f"k{n}", "t", "echo", background=True) for n in range(MAX_BACKGROUND)]
    assert core.hear(*began) == ["task_started"] * MAX_BACKGROUND
    return core


ONE_MORE = hub.TaskBegan(None, "more", "t", "echo", background=True)


def test_tasks_in_the_background_are_bounded() -> None:
    core = filled()
    assert core.hear(ONE_MORE) == ["notice"]
    notice = core.events[0].event
    assert isinstance(notice, Notice)
    assert notice.code == "background_full"
    assert str(MAX_BACKGROUND) in notice.content
    assert core.hear(hub.TaskEnded(None, "more", "succeeded")) == []
    assert "more" not in core.state.background


def test_that_tasks_are_left_out_is_said_once_until_all_ended() -> None:
    core = filled()
    assert core.hear(ONE_MORE, ONE_MORE) == ["notice"]
    core.reload()
    assert core.hear(ONE_MORE) == []
    core.hear(hub.TaskEnded(None, "k0", "succeeded"))
    again = hub.TaskBegan(None, "k0", "t", "echo", background=True)
    assert core.hear(again, ONE_MORE) == ["task_started"], "there was room for one"
    core.hear(*(hub.TaskEnded(None, f"k{n}", "succeeded") for n in range(MAX_BACKGROUND)))
    core.hear(*(attrs.evolve(again, task_id=f"k{n}") for n in range(MAX_BACKGROUND)))
    assert core.hear(ONE_MORE) == ["notice"], "all of those had ended"


def test_that_notice_counts_neither_for_if_head_nor_as_consumed() -> None:
    core = filled()
    head = core.state.head_seq
    core.hear(ONE_MORE)
    core.do(Send("m5", "x", if_head=IfHead(core.state.epoch, head)), "mac")
    assert core.reply_word == "accepted"
    core = filled()
    core.do(Send("m5", "x"))
    assert core.hear(ONE_MORE) == ["notice"]
    assert core.events[0].turn_id == core.turn_id
    assert core.state.turn is not None
    assert not core.state.turn.consumed
