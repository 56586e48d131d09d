"""The hub's half of the table in `docs/internals/architecture.md`, "The life of a turn", row by row."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

import actors.session.steps.hub_steps
from actors.commands import Decide, Interrupt, Send
from actors.events.codec import decode_event, encode_event
from actors.events.conversation import Complete, Interrupted, Message, Notice, TurnError, Usage
from actors.events.permissions import PermissionResolved
from actors.events.pieces import MAX_PIECE_BYTES
from actors.events.work import TaskFinished, ToolFinished
from actors.session.effects import Announce, ForgetHub, HandOver, KillHub, SendToHub, StartHub
from actors.session.inputs import FromHub, HubGone, HubReady
from actors.session.snapshot import view
from actors.tail import ToolOutputs
from bridgehub.protocol import events as hub
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided, Reported, Welcome
from tests.actors.core import Core

OPTIONS = ("allow", "deny", "allow_session")


def in_phase(phase: str, *, stopping: bool = False, queued: bool = False, reused: bool = False) -> Core:
    """Return a session whose message `m1` is in that phase, on a hub of its own, or a `reused` one."""
    core = Core()
    if phase == "idle" or reused:
        core.do(Send("m0", "first"))
        core.give(core.ready())
        core.hear(hub.TurnDone(core.turn_id))
        if phase == "idle":
            return core
    core.do(Send("m1", "second"))
    if not reused:
        core.give(core.ready())
    if phase in ("consumed", "waiting"):
        core.hear(hub.Consumed(core.turn_id))
    if phase == "waiting":
        core.hear(hub.PermissionAsked(core.turn_id, "p1", "bash", {}, OPTIONS))
        core.hear(hub.TaskBegan(core.turn_id, "k1", "look around", "echo"))
    if queued:
        core.do(Send("m2", "third"))
    if stopping:
        core.do(Interrupt(), "mac")
    return core


REPORTS: list[tuple[str, Callable[[str], hub.HubEvent], list[str]]] = [
    ("consumed", hub.Consumed, []),
    ("piece", lambda t: hub.TextPiece(t, "text", "b", "hi"), ["message"]),
    ("thinking", lambda t: hub.TextPiece(t, "thinking", "b", "hm"), ["thinking"]),
    ("tool began", lambda t: hub.ToolBegan(t, "x", "bash", {}), ["tool_started"]),
    ("tool ended", lambda t: hub.ToolEnded(t, "x", "bash", "out", is_error=False), ["tool_finished"]),
    ("task began", lambda t: hub.TaskBegan(t, "k", "dig", "echo"), ["task_started"]),
    ("a task nobody began", lambda t: hub.TaskProgressed(t, "k9", "half"), []),
    ("notice", lambda t: hub.Noticed(t, "retry", "again", 1, 0.5), ["notice"]),
    ("asked", lambda t: hub.PermissionAsked(t, "p9", "bash", {}, OPTIONS), ["permission_requested"]),
]
ENDS: list[tuple[str, Callable[[str], hub.HubEvent], bool, list[str]]] = [
    ("done", hub.TurnDone, True, ["d:answered", "complete"]),
    (
        "failed",
        lambda t: hub.TurnFailed(t, "timeout", "slow", retryable=True),
        False,
        ["d:failed", "error timeout"],
    ),
    ("stopped", hub.TurnStopped, False, ["d:interrupted", "interrupted"]),
]
CLOSING = ["permission_resolved", "task_finished"]
NEXT = ["turn_started", "d:handed"]


@pytest.mark.parametrize(
    ("told", "kept"),
    [(None, None), ({"thread": "t"}, {"thread": "t"}), ({"thread": "x" * 2000}, None)],
)
def test_a_turn_s_end_keeps_the_agent_s_position(
    told: dict[str, str] | None, kept: dict[str, str] | None
) -> None:
    core = in_phase("consumed")
    step = core.step(core.reported(hub.TurnDone(core.turn_id, position=told)))
    (end,) = [item.event for item in step.events if isinstance(item.event, Complete)]
    assert end.agent_position == kept
    assert decode_event("complete", encode_event(end)) == end


@pytest.mark.parametrize(("event", "words"), [pytest.param(r[1], r[2], id=r[0]) for r in REPORTS])
@pytest.mark.parametrize("phase", ["handed", "consumed", "waiting"])
def test_report(phase: str, event: Callable[[str], hub.HubEvent], words: list[str]) -> None:
    core = in_phase(phase)
    first = ["d:consumed"] if phase == "handed" else []
    assert core.hear(event(core.turn_id)) == first + words
    assert core.orders == []


@pytest.mark.parametrize(("event", "consumes", "words"), [pytest.param(*r[1:], id=r[0]) for r in ENDS])
@pytest.mark.parametrize("phase", ["handed", "consumed", "waiting"])
@pytest.mark.parametrize("queued", [False, True])
def test_end(
    phase: str, queued: bool, event: Callable[[str], hub.HubEvent], consumes: bool, words: list[str]
) -> None:
    core = in_phase(phase, queued=queued)
    first = ["d:consumed"] if phase == "handed" and consumes else []
    closing = CLOSING if phase == "waiting" else []
    more = NEXT if queued else []
    assert core.hear(event(core.turn_id)) == first + closing + words + more
    assert core.order_words == (["prompt"] if queued else [])


GONE: list[tuple[str, dict[str, str], str, list[str]]] = [
    ("died", {}, "handed", ["d:unknown", "error unknown_outcome"]),
    ("died", {}, "consumed", ["d:failed", "error agent_exited"]),
    ("died", {}, "waiting", [*CLOSING, "d:failed", "error agent_exited"]),
    ("not started", {"reason": "not_started"}, "handed", ["d:failed", "error agent_exited"]),
    ("garbage", {"reason": "garbage"}, "handed", ["d:unknown", "error agent_protocol"]),
    ("garbage", {"reason": "garbage"}, "consumed", ["d:failed", "error agent_protocol"]),
]


@pytest.mark.parametrize(("how", "phase", "words"), [pytest.param(*r[1:], id=f"{r[0]}-{r[2]}") for r in GONE])
@pytest.mark.parametrize("queued", [False, True])
def test_gone(queued: bool, how: dict[str, str], phase: str, words: list[str]) -> None:
    core = in_phase(phase, queued=queued)
    old = core.hub_id
    assert core.give(core.gone(**how)) == words + (NEXT if queued else [])
    starts = [StartHub(core.hub_id)] if queued else []
    assert core.orders == [ForgetHub(old), *starts]


@pytest.mark.parametrize("phase", ["handed", "consumed", "waiting"])
@pytest.mark.parametrize("reason", ["died", "garbage", "not_started"])
def test_gone_while_stopping_is_interrupted(phase: str, reason: str) -> None:
    core = in_phase(phase, stopping=True)
    closing = ["task_finished"] if phase == "waiting" else []
    assert core.give(core.gone(reason=reason)) == [*closing, "d:interrupted", "interrupted"]
    assert core.events[-1].event == Interrupted("mac")


def test_gone_in_idle_only_forgets() -> None:
    core = in_phase("idle")
    old = core.hub_id
    assert core.give(core.gone()) == []
    assert core.orders == [ForgetHub(old)]
    assert core.state.hub_id is None
    assert core.give(HubGone(old, "died")) == [], "told twice"


def test_a_hub_that_died_idle_gives_way_to_a_new_one() -> None:
    core = in_phase("handed", reused=True)
    old = core.hub_id
    assert core.give(core.gone()) == []
    assert core.orders == [ForgetHub(old), StartHub(core.hub_id)]
    assert core.hub_id != old
    core.give(core.ready())
    assert core.order_words == ["prompt"]
    assert core.give(core.gone()) == ["d:unknown", "error unknown_outcome"], "but only once"


def test_a_prompt_that_a_hub_may_have_had_is_unknown() -> None:
    core = in_phase("handed", reused=True)
    assert core.give(core.gone(last_prompt=core.turn_id)) == ["d:unknown", "error unknown_outcome"]
    again = in_phase("handed", reused=True)
    again.reload()  # an earlier owner may have sent it
    assert again.give(again.gone()) == ["d:unknown", "error unknown_outcome"]


def test_ready_in_idle_says_nothing() -> None:
    core = in_phase("idle")
    assert core.give(core.ready("whatever")) == []
    assert core.orders == []
    assert core.setups == [Setup()]


@pytest.mark.parametrize("phase", ["handed", "consumed", "waiting"])
@pytest.mark.parametrize("stopping", [False, True])
def test_ready_and_knows_the_turn(phase: str, stopping: bool) -> None:
    core = in_phase(phase, stopping=stopping)
    asks = ("p1",) if phase == "waiting" else ()
    assert core.give(core.ready(core.turn_id, asks)) == []
    again = ["decided cancelled"] if stopping and phase == "waiting" else []
    assert core.order_words == again + (["interrupt"] if stopping else [])


def test_ready_hears_a_decision_again_that_it_still_waits_for() -> None:
    core = in_phase("waiting")
    core.do(Decide("p1", "deny", note="not there"))
    core.reload()
    core.give(core.ready(core.turn_id, ("p1", "p2")))
    assert core.orders == [SendToHub(Decided("p1", "deny", "not there"))]
    core.give(core.ready(core.turn_id))
    assert core.orders == []


@pytest.mark.parametrize("last", [None, "an-older-turn"])
def test_ready_without_the_prompt_gets_it_again(last: str | None) -> None:
    core = in_phase("handed")
    assert core.give(core.ready(last)) == []
    assert core.order_words == ["prompt"]


def test_an_interrupted_prompt_is_not_handed_again() -> None:
    core = in_phase("handed", stopping=True)
    assert core.give(core.ready(None)) == ["d:interrupted", "interrupted"]
    assert core.order_words == []


@pytest.mark.parametrize("phase", ["consumed", "waiting"])
def test_ready_without_a_consumed_prompt_ends_the_turn(phase: str) -> None:
    core = in_phase(phase)
    closing = CLOSING if phase == "waiting" else []
    assert core.give(core.ready("other")) == [*closing, "d:failed", "error agent_exited"]


def test_another_hub_s_news_are_dropped() -> None:
    core = in_phase("consumed")
    piece = Reported(core.hub_seq + 1, core.hub_seq + 1, hub.TextPiece(core.turn_id, "text", "b", "x"))
    assert core.give(FromHub("older", piece)) == []
    assert core.give(HubReady("older", Welcome(1, "older", 7, None, False, ()))) == []
    assert core.give(HubGone("older", "died")) == []
    assert core.orders == [ForgetHub("older")]
    assert core.state.hub_seq == core.hub_seq


@pytest.mark.parametrize("phase", ["idle", "consumed"])
def test_events_of_a_turn_that_does_not_run_are_dropped(phase: str) -> None:
    core = in_phase(phase)
    stray: list[hub.HubEvent] = [
        hub.TextPiece("older", "text", "b", "x"),
        hub.TurnDone("older"),
        hub.Noticed("older", "c", "x"),
    ]
    assert core.hear(*stray) == []
    assert core.state.hub_seq == core.hub_seq


def test_events_that_the_journal_has_are_dropped_by_their_number() -> None:
    core = in_phase("consumed")
    pieces = [core.reported(hub.TextPiece(core.turn_id, "text", "b", c)) for c in "abc"]
    assert core.give(pieces[0], pieces[1], pieces[0]) == ["message", "message"]
    core.reload()
    assert core.give(*pieces) == ["message"]
    assert core.text_of(core.turn_id) == {("message", "b"): "abc"}


def test_an_event_outside_any_turn_does_not_take_the_prompt() -> None:
    core = in_phase("handed")
    assert core.hear(hub.Noticed(None, "unknown_type", "a later hub")) == ["notice"]
    assert core.events[0].turn_id is None
    assert not core.state.turn.consumed  # type: ignore[union-attr]


def test_a_request_while_stopping_is_cancelled_silently() -> None:
    core = in_phase("consumed", stopping=True)
    assert core.hear(hub.PermissionAsked(core.turn_id, "p7", "bash", {}, OPTIONS)) == []
    assert core.order_words == ["decided cancelled"]


def test_a_request_is_asked_once() -> None:
    core = in_phase("waiting")
    ask = hub.PermissionAsked(core.turn_id, "p1", "bash", {}, OPTIONS)
    assert core.hear(ask) == []
    core.do(Decide("p1", "allow"))
    assert core.hear(ask) == []


def test_a_whole_turn_in_the_order_of_the_contract() -> None:
    core = Core()
    words = core.do(Send("m0", "a"))
    core.give(core.ready())
    words += core.do(Send("m1", "b"))
    turn = core.turn_id
    words += core.hear(
        hub.Consumed(turn),
        hub.TextPiece(turn, "thinking", "x", "hm"),
        hub.TextPiece(turn, "text", "b", "one"),
        hub.PermissionAsked(turn, "p", "bash", {}, OPTIONS),
        hub.TaskBegan(turn, "k", "dig", "echo"),
        hub.TaskBegan(turn, "j", "deeper", "echo", "k"),
        hub.TaskEnded(turn, "j", "succeeded", "found"),
        hub.TurnDone(turn, 1, 2, None, 0.5),
    )
    assert words == [
        *["user_message", "turn_started", "d:handed"],
        *["user_message", "d:queued"],
        *["d:consumed", "thinking", "message", "permission_requested", "task_started", "task_started"],
        *["task_finished", "permission_resolved", "task_finished", "d:answered", "complete"],
        *["turn_started", "d:handed"],
    ]
    end = next(item for item in core.events if isinstance(item.event, Complete))
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert end.event == Complete(3, 3, digest, Usage(1, 2, None, 0.5))
    closed = [item.event for item in core.events if isinstance(item.event, PermissionResolved | TaskFinished)]
    assert closed == [
        TaskFinished("j", "deeper", "echo", "succeeded", "found", "k"),
        PermissionResolved("p", "cancelled", None),
        TaskFinished("k", "dig", "echo", "cancelled", None),
    ]
    core.hear(hub.Consumed(core.turn_id))
    assert core.state.taken == 2


def test_a_long_piece_is_cut_and_keeps_its_numbers() -> None:
    core = in_phase("consumed")
    text = "é" * MAX_PIECE_BYTES
    core.give(core.reported(hub.TextPiece(core.turn_id, "text", "b", text), span=3))
    assert len(core.events) == 2
    assert [item.event.offset for item in core.events if isinstance(item.event, Message)] == [
        0,
        len(text) // 2,
    ]
    assert core.events[0].seq - core.events[0].first_seq == 2
    assert core.text_of(core.turn_id) == {("message", "b"): text}


@pytest.mark.parametrize("channel", ["text", "thinking"])
def test_a_flood_is_stopped_and_the_queue_goes_on(monkeypatch: pytest.MonkeyPatch, channel: str) -> None:
    monkeypatch.setattr(actors.session.steps.hub_steps, "MAX_ANSWER_LENGTH", 10)
    core = in_phase("consumed", queued=True)
    old, turn = core.hub_id, core.turn_id
    piece = hub.TextPiece(turn, channel, "b", "sixsix")  # type: ignore[arg-type]
    words = core.hear(piece, piece, piece)
    kind = "message" if channel == "text" else "thinking"
    assert words == [kind, kind, "d:failed", "error agent_protocol", *NEXT]
    assert core.orders == [KillHub(old), StartHub(core.hub_id)]
    assert core.give(HubGone(old, "died")) == [], "the end of the old hub ends no turn of the new one"
    core.give(core.ready())
    assert isinstance(core.orders[0], HandOver)


def test_an_error_says_why() -> None:
    core = in_phase("consumed")
    core.give(core.gone(detail="exit 70"))
    error = core.events[-1].event
    assert isinstance(error, TurnError)
    assert error.retryable
    assert error.content.endswith(": exit 70")


def test_a_notice_keeps_its_fields() -> None:
    core = in_phase("consumed")
    core.hear(hub.Noticed(core.turn_id, "retry", "again", 2, 1.5))
    assert core.events[0].event == Notice("retry", "again", 2, 1.5)
    assert attrs.asdict(core.events[0].event)["attempt"] == 2


def test_what_tools_printed_is_shown_and_is_no_event() -> None:
    core = in_phase("consumed")
    turn, one = core.turn_id, hub.ToolOutput("x", "bash", "one", 3)
    core.hear(hub.ToolBegan(turn, "x", "bash", {}))
    assert core.hear(hub.ToolsPrinted(turn, (one,))) == []
    told = ToolOutputs(turn, (one,))
    assert core.orders == [Announce(told)]
    assert view(core.state).printed == told
    core.hear(hub.ToolsPrinted(turn, (one,)))
    assert core.orders == [], "a hub tells each link"
    assert core.hear(hub.ToolEnded(turn, "x", "bash", "one two", is_error=False)) == ["tool_finished"]
    assert view(core.state).printed is None
    core.hear(hub.TurnDone(turn))
    assert core.hear(hub.ToolsPrinted(turn, (one,))) == [], "it came too late"
    assert core.orders == []


@pytest.mark.parametrize(("offset", "output"), [(0, "one"), (3, "[3 characters before this are lost]\none")])
def test_what_tools_printed_is_kept_if_their_hub_dies(offset: int, output: str) -> None:
    core = in_phase("consumed")
    core.hear(hub.ToolBegan(core.turn_id, "x", "bash", {}))
    core.hear(hub.ToolsPrinted(core.turn_id, (hub.ToolOutput("x", "bash", "one", offset),)))
    assert core.give(core.gone()) == ["tool_finished", "d:failed", "error agent_exited"]
    assert core.events[0].event == ToolFinished("x", "bash", output, is_error=True)
    assert view(core.state).printed is None
