"""The commands' half of the table in `docs/internals/architecture.md`, "The life of a turn", row by row."""

from __future__ import annotations

import pytest

import actors.session.steps.command_steps
from actors.commands import (
    Attach,
    Cancel,
    Close,
    Command,
    Decide,
    Draft,
    Interrupt,
    MarkRead,
    Rename,
    Resolve,
    Send,
)
from actors.events.permissions import PermissionResolved
from actors.replies import Accepted, Closed, IfHead, Rejected, SessionView
from actors.session.effects import Announce, HandOver, KeepNote, SendToHub, StartHub, StopHub
from actors.session.inputs import IdleTooLong, MarkFailed, Resume
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import Decided
from tests.actors.core import Core

PHASES = ["idle", "handed", "consumed", "waiting"]
RUNNING = PHASES[1:]


def in_phase(phase: str) -> Core:
    """Return a session in which `m0` was answered, and `m1` is in that phase; request `p0` was denied."""
    core = Core()
    core.do(Send("m0", "first"))
    core.give(core.ready())
    core.hear(hub.PermissionAsked(core.turn_id, "p0", "bash", {}, ("allow", "deny")))
    core.do(Decide("p0", "deny"), "mac")
    core.hear(hub.TextPiece(core.turn_id, "text", "b", "ok"), hub.TurnDone(core.turn_id))
    if phase != "idle":
        core.do(Send("m1", "second"))
    if phase in ("consumed", "waiting"):
        core.hear(hub.Consumed(core.turn_id))
    if phase == "waiting":
        core.hear(
            hub.PermissionAsked(
                core.turn_id, "p1", "bash", {"command": "ls"}, ("allow", "deny"), editable=("command",)
            )
        )
    assert core.state.word == {"idle": "idle", "waiting": "waiting"}.get(phase, "running")
    return core


def with_unknown(phase: str) -> Core:
    """The same, and the outcome of `lost` is not known."""
    core = Core()
    core.do(Send("lost", "where am I"))
    core.give(core.ready())
    core.give(core.gone())
    assert list(core.state.unknown) == ["lost"]
    if phase != "idle":
        core.do(Send("m1", "second"))
        core.hub_seq = 0
        core.give(core.ready())
    if phase in ("consumed", "waiting"):
        core.hear(hub.Consumed(core.turn_id))
    if phase == "waiting":
        core.hear(hub.PermissionAsked(core.turn_id, "p1", "bash", {}, ("allow", "deny")))
    return core


ROWS: list[tuple[str, list[str], Command, list[str], str, list[str]]] = [
    # input, phases, command -> events, answer, orders
    (
        "send, new id",
        ["idle"],
        Send("n", "x"),
        ["user_message", "turn_started", "d:handed"],
        "accepted",
        ["prompt"],
    ),
    ("send, new id", RUNNING, Send("n", "x"), ["user_message", "d:queued"], "accepted", []),
    ("send, known id", PHASES, Send("m0", "other words"), [], "accepted, duplicate", []),
    ("send, stale", PHASES, Send("n", "x", if_head=IfHead(1, 1)), [], "rejected stale_head", []),
    ("send, other epoch", PHASES, Send("n", "x", if_head=IfHead(2, 999)), [], "rejected stale_head", []),
    (
        "send, steer",
        ["idle"],
        Send("n", "x", mode="steer"),
        ["user_message", "turn_started", "d:handed"],
        "accepted",
        ["prompt"],
    ),
    ("send, steer", RUNNING, Send("n", "x", mode="steer"), [], "rejected cannot_steer", []),
    ("cancel, else", PHASES, Cancel("m0"), [], "rejected not_queued", []),
    ("cancel, unheard of", PHASES, Cancel("nobody"), [], "rejected not_queued", []),
    ("cancel, too late", RUNNING, Cancel("m1"), [], "rejected not_queued", []),
    ("interrupt", ["idle"], Interrupt(), [], "rejected nothing_to_interrupt", []),
    ("interrupt", ["handed", "consumed"], Interrupt(), [], "", ["interrupt"]),
    ("interrupt", ["waiting"], Interrupt(), ["permission_resolved"], "", ["interrupt"]),
    ("interrupt, another turn", PHASES, Interrupt("nope"), [], "rejected nothing_to_interrupt", []),
    ("decide, open", ["waiting"], Decide("p1", "allow"), ["permission_resolved"], "", ["decided"]),
    (
        "decide, forbidden",
        ["waiting"],
        Decide("p1", "allow", input={"command": "id"}),
        [],
        "rejected forbidden",
        [],
    ),
    ("decide, forbidden", ["waiting"], Decide("p1", "allow", mode="plan"), [], "rejected forbidden", []),
    (
        "decide, changed",
        ["waiting"],
        Decide("p1", "allow", input={"command": "id"}, drives=True),
        ["permission_resolved"],
        "",
        ["decided"],
    ),
    (
        "decide, not editable",
        ["waiting"],
        Decide("p1", "allow", input={"cwd": "/"}, drives=True),
        [],
        "rejected not_editable",
        [],
    ),
    (
        "decide, another type",
        ["waiting"],
        Decide("p1", "allow", input={"command": ["id"]}, drives=True),
        [],
        "rejected not_editable",
        [],
    ),
    ("decide, resolved", PHASES, Decide("p0", "allow"), [], "rejected already_resolved", []),
    ("decide, else", PHASES, Decide("p9", "allow"), [], "rejected unknown_request", []),
    ("resolve, else", PHASES, Resolve("m0", "retry"), [], "rejected not_unknown", []),
    ("resolve, else", PHASES, Resolve("m0", "discard"), [], "rejected not_unknown", []),
    ("rename", PHASES, Rename("Trip"), ["session_updated"], "", []),
    ("attach", PHASES, Attach(), [], "SessionView", []),
]
CASES = [
    pytest.param(phase, *row[2:], id=f"{row[0]}-{phase}") for row in ROWS for phase in row[1]
]  # fmt: skip


@pytest.mark.parametrize(("phase", "command", "events", "answer", "orders"), CASES)
def test_command(phase: str, command: Command, events: list[str], answer: str, orders: list[str]) -> None:
    core = in_phase(phase)
    head = core.state.head_seq
    device = "tv" if isinstance(command, Send) and command.if_head else "phone"
    assert core.do(command, device) == events
    assert core.reply_word == answer
    assert core.order_words == orders
    assert core.state.head_seq == head + len(events)


UNKNOWN_ROWS = [
    ("retry", ["idle"], ["turn_started", "d:handed"], ["hub"]),
    ("retry", RUNNING, ["d:queued"], []),
    ("discard", PHASES, ["d:cancelled"], []),
]


@pytest.mark.parametrize(
    ("phase", "action", "events", "orders"),
    [(phase, action, events, orders) for action, phases, events, orders in UNKNOWN_ROWS for phase in phases],
)
def test_resolve_unknown(phase: str, action: str, events: list[str], orders: list[str]) -> None:
    core = with_unknown(phase)
    assert core.do(Resolve("lost", action), "mac") == events  # type: ignore[arg-type]
    assert core.order_words == orders
    assert not core.state.unknown
    assert core.do(Resolve("lost", "retry")) == []
    assert core.reply_word == "rejected not_unknown"


def test_a_retry_is_a_new_turn_of_whoever_asked_for_it() -> None:
    core = with_unknown("idle")
    old = core.events[0].turn_id
    core.do(Resolve("lost", "retry"), "mac")
    turn = core.state.turn
    assert turn is not None
    assert (turn.message_id, turn.device_id, turn.message_seq) == ("lost", "mac", 1)
    assert core.events[0].turn_id not in (None, old)
    core.give(core.ready())
    (prompt,) = core.orders
    assert prompt == HandOver(turn.turn_id, "lost", 1, 0)


def test_a_retried_message_shows_its_words_in_the_queue() -> None:
    core = with_unknown("handed")
    core.do(Resolve("lost", "retry"))
    for _ in range(2):
        assert [w.preview for w in core.state.queue.values()] == ["where am I"]
        core.reload()


def test_the_first_message_starts_a_hub_and_waits() -> None:
    core = Core()
    assert core.do(Send("m", "hello")) == ["user_message", "turn_started", "d:handed"]
    assert core.orders == [StartHub(core.hub_id)]
    assert core.record.summary is not None
    assert core.record.summary.hub_id == core.hub_id, "its id is in the journal before it is started"
    assert core.give(core.ready()) == []
    assert core.orders == [HandOver(core.turn_id, "m", 1, 0)]


def test_the_turn_id_is_made_with_the_user_message() -> None:
    core = in_phase("handed")
    core.do(Send("n", "x"))
    said, queued = core.events
    assert said.turn_id == queued.turn_id
    assert said.turn_id not in (None, core.turn_id)
    assert said.device_id == "phone"
    core.hear(hub.TurnDone(core.turn_id))
    assert core.turn_id == said.turn_id


def test_the_same_id_twice_in_one_batch_runs_once() -> None:
    core = Core()
    words = core.give(core.given(Send("m", "a")), core.given(Send("m", "b"), "mac"))
    assert words == ["user_message", "turn_started", "d:handed"]
    assert core.replies == [Accepted("m", 1, duplicate=False), Accepted("m", 1, duplicate=True)]


def test_the_queue_is_first_in_first_out_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.session.steps.command_steps, "MAX_QUEUED", 3)
    core = in_phase("consumed")
    for number in range(3):
        core.do(Send(f"q{number}", "x"))
    assert core.do(Send("q3", "x")) == []
    assert core.reply_word == "rejected queue_full"
    assert core.do(Cancel("q1"), "mac") == ["d:cancelled"]
    assert core.do(Send("q3", "x")) == ["user_message", "d:queued"], "a rejected id may be sent again"
    order = []
    while core.state.turn is not None:
        order.append(core.state.turn.message_id)
        core.hear(hub.TurnDone(core.turn_id))
    assert order == ["m1", "q0", "q2", "q3"]


def test_a_retry_meets_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors.session.steps.command_steps, "MAX_QUEUED", 1)
    core = with_unknown("consumed")
    core.do(Send("q", "x"))
    assert core.do(Resolve("lost", "retry")) == []
    assert core.replies[-1] == Rejected("queue_full", "1 messages wait already", message_id="lost")
    assert list(core.state.unknown) == ["lost"]


def test_if_head_excepts_own_events_and_own_turns() -> None:
    core = Core()
    core.do(Send("m1", "a"), "phone")
    core.give(core.ready())
    turn = core.turn_id
    core.hear(hub.TextPiece(turn, "text", "b", "words"))
    seen = IfHead(1, 0)
    assert core.do(Send("m2", "b", if_head=seen), "phone") != [], "all of it is its own turn"
    at = core.state.head
    assert core.do(Send("m3", "c", if_head=at), "mac") != []
    assert core.do(Send("m4", "d", if_head=at), "mac") != [], "only its own message came since"
    core.hear(hub.TextPiece(turn, "text", "b", "more"))
    assert core.do(Send("m5", "e", if_head=at), "mac") == [], "the phone's turn spoke"
    assert core.replies[-1] == Rejected(
        "stale_head",
        "somebody else has written since; look, then send again",
        message_id="m5",
        head=core.state.head,
    )
    assert core.do(Send("m6", "f", if_head=IfHead(1, 1)), "phone") == [], "the mac wrote"


@pytest.mark.parametrize(("device", "fine"), [("mac", True), ("phone", True), ("tv", False)])
def test_if_head_counts_a_decision_as_its_authors(device: str, fine: bool) -> None:
    core = in_phase("waiting")
    at = core.state.head
    core.do(Decide("p1", "allow"), "mac")  # in the phone's turn
    for _ in range(2):
        assert core.state.is_foreign_after(at.seq, device) is not fine
        core.reload()
    assert bool(core.do(Send("n", "x", if_head=at), device)) is fine


def test_a_second_decision_is_told_who_was_first() -> None:
    core = in_phase("waiting")
    core.do(Decide("p1", "allow_session", note="go on", answers={"a": 1}), "mac")
    assert core.events[0].event == PermissionResolved("p1", "allow_session", "mac", "go on", {"a": 1})
    assert core.orders == [SendToHub(Decided("p1", "allow_session", "go on", {"a": 1}))]
    core.do(Decide("p1", "deny"), "phone")
    assert core.replies == [
        *core.replies[:-1],
        Rejected("already_resolved", "mac was first", request_id="p1", by_device="mac"),
    ]


def test_interrupting_again_does_nothing_also_after_a_reload() -> None:
    core = in_phase("consumed")
    core.do(Interrupt(core.turn_id), "mac")
    for _ in range(2):
        assert core.do(Interrupt()) == []
        assert (core.reply_word, core.orders) == ("", [])
        core.reload()
    core.hear(hub.TurnStopped(core.turn_id))
    assert core.events[-1].device_id == "mac"


def test_notes_are_kept_and_shown_but_are_no_events() -> None:
    core = in_phase("idle")
    head = core.state.head_seq
    assert core.do(MarkRead(head + 50)) == []
    assert core.orders[0] == KeepNote(read_seq=head)
    assert isinstance(core.orders[1], Announce)
    assert core.do(MarkRead(1)) == []
    assert core.orders == [], "a read mark never goes back"
    assert core.do(Draft("ab")) == []
    assert core.orders[0] == KeepNote(draft="ab")


@pytest.mark.parametrize(
    ("phase", "watched", "ends"),
    [
        ("idle", False, True),
        ("idle", True, False),
        ("consumed", False, False),
        ("handed", False, False),
    ],
)
def test_close(phase: str, watched: bool, ends: bool) -> None:
    core = in_phase(phase)
    hub_id = core.hub_id
    assert core.do(Close(), watched=watched) == []
    assert core.replies[-1] == Closed(process_killed=ends)
    assert core.orders == ([StopHub(hub_id)] if ends else [])
    assert (core.state.hub_id is None) is ends


def test_after_an_idle_stop_the_next_message_goes_to_a_new_hub() -> None:
    core = in_phase("idle")
    old = core.hub_id
    assert core.give(IdleTooLong()) == []
    assert core.orders == [StopHub(old)]
    core.do(Send("n", "x"))
    assert core.orders == [StartHub(core.hub_id)]
    assert core.hub_id != old
    seq = core.events[0].seq
    core.give(core.ready())
    assert core.orders == [HandOver(core.turn_id, "n", seq, 1)]


@pytest.mark.parametrize(
    ("phase", "events"),
    [
        ("idle", ["session_updated"]),
        ("handed", ["d:unknown", "error unknown_outcome", "session_updated"]),
        ("consumed", ["d:failed", "error agent_exited", "session_updated"]),
        ("waiting", ["permission_resolved", "d:failed", "error agent_exited", "session_updated"]),
    ],
)
def test_a_session_that_failed_waits_and_goes_on(phase: str, events: list[str]) -> None:
    core = in_phase(phase)
    if phase != "idle":
        core.do(Send("q", "x"))
    assert core.give(MarkFailed("a defect")) == events
    assert core.state.failed
    core.reload()
    assert core.do(Send("r", "x")) == ["user_message", "d:queued"]
    core.give(Resume())
    assert core.state.word == "running"
    assert core.state.turn is not None
    assert core.state.turn.message_id == ("r" if phase == "idle" else "q")


def test_a_view_is_the_session_at_one_position() -> None:
    core = in_phase("waiting")
    core.do(Send("q", "y" * 2000), "mac")
    core.do(Rename("Trip"))
    core.do(Attach())
    view = core.replies[-1]
    assert isinstance(view, SessionView)
    assert (view.head_seq, view.title, view.state) == (core.state.head_seq, "Trip", "waiting")
    assert [(w.message_id, w.device_id, len(w.preview)) for w in view.queue] == [("q", "mac", 1000)]
    assert [p.request_id for p in view.pending] == ["p1"]
