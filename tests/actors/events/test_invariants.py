"""Each rule of a journal: a whole life passes, and each way to break it is found at its place."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import attrs
import pytest

from actors.events.committed import Committed, Event
from actors.events.conversation import (
    Complete,
    Delivery,
    DeliveryState,
    Interrupted,
    Message,
    Notice,
    Thinking,
    TurnError,
    TurnStarted,
    UserMessage,
)
from actors.events.invariants import MAX_FOUND, Verifier, violations
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.pieces import MAX_PIECE_BYTES
from actors.events.session import SessionUpdated
from actors.events.work import TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted

Line = tuple[str | None, Event]
ERROR = TurnError("agent_exited", "gone", retryable=True)


def journal(lines: Sequence[Line]) -> list[Committed]:
    """Number events, one seq each; a text piece takes as many as it has characters."""
    items: list[Committed] = []
    seq = 0
    for turn_id, event in lines:
        first = seq + 1
        seq += len(event.content) if isinstance(event, Message | Thinking) else 1
        items.append(Committed(seq, first, 0, turn_id, None, event))
    return items


def d(message_id: str, state: DeliveryState, turn: str | None = "t1") -> Line:
    return turn, Delivery(message_id, state)


def complete(text: str, count: int) -> Complete:
    return Complete(count, len(text), sha256(text.encode()).hexdigest())


BEGIN: list[Line] = [
    ("t1", UserMessage("m1", "hello")),
    ("t1", TurnStarted("m1")),
    d("m1", "handed"),
    d("m1", "consumed"),
]
WORK: list[Line] = [
    ("t1", Thinking("hm", "a", 0)),
    ("t1", Message("one ", "a", 0)),
    ("t1", ToolStarted("x", "bash", None)),
    ("t1", PermissionRequested("p", "bash", None, ("allow", "deny"))),
    ("t1", PermissionResolved("p", "allow", "ipad")),
    ("t1", TaskStarted("k", "dig", "echo")),
    ("t1", TaskProgress("k", "dig", "echo", "deeper")),
    ("t1", TaskFinished("k", "dig", "echo", "succeeded", "done")),
    ("t1", ToolFinished("x", "bash", "out", is_error=False)),
    ("t1", Message("two", "b", 0)),
    ("t1", Thinking("hm", "b", 0)),
    ("t1", Message("and ", "a", 4)),
]
END: list[Line] = [d("m1", "answered"), ("t1", complete("one and two", 2))]


def rules(lines: Sequence[Line]) -> list[str]:
    return [one.rule for one in violations(journal(lines))]


def test_a_whole_life() -> None:
    """Queued, taken back, steered, refused, unknown and tried again, discarded, failed; a turn is left open."""
    lines = [
        *BEGIN,
        ("t2", UserMessage("m2", "later")),
        d("m2", "queued", "t2"),
        ("t3", UserMessage("m3", "never")),
        d("m3", "queued", "t3"),
        ("t3", Notice("later_held", "it waits for a word")),
        ("t1", UserMessage("m4", "steered")),
        d("m4", "handed"),
        ("t1", UserMessage("m5", "steered, refused")),
        d("m5", "handed"),
        *WORK,
        d("m3", "cancelled", "t3"),
        d("m4", "consumed"),
        d("m5", "queued", "t5"),
        (None, SessionUpdated("Trip")),
        (None, Notice("history_cut", "older messages were left out")),
        d("m4", "answered"),
        d("m1", "answered"),
        ("t1", complete("one and two", 6)),
        ("t2", TurnStarted("m2")),
        d("m2", "handed", "t2"),
        d("m2", "unknown", "t2"),
        ("t2", TurnError("unknown_outcome", "who knows", retryable=True)),
        ("t5", TurnStarted("m5")),
        d("m5", "handed", "t5"),
        d("m5", "interrupted", "t5"),
        ("t5", Interrupted("ipad")),
        ("t6", TurnStarted("m2")),
        d("m2", "handed", "t6"),
        d("m2", "failed", "t6"),
        ("t6", ERROR),
        ("t7", UserMessage("m7", "again")),
        ("t7", TurnStarted("m7")),
        d("m7", "handed", "t7"),
        d("m7", "unknown", "t7"),
        ("t7", ERROR),
        d("m7", "cancelled", None),
        ("t8", UserMessage("m8", "goes on")),
        ("t8", TurnStarted("m8")),
    ]
    verifier = Verifier()
    for item in journal(lines):
        verifier.take(item)
    assert verifier.found == []
    assert verifier.open_turn == "t8"
    assert verifier.messages["m2"].state == "failed"
    assert verifier.message_count == 7 + 6


def test_a_gap_and_an_overlap() -> None:
    items = journal([*BEGIN, *WORK, *END])
    assert violations(items) == []
    assert [(one.seq, one.rule) for one in violations(items[1:])[:1]] == [(2, "gap")]
    assert violations([*items[:7], *items[8:]])[0].rule == "gap"
    doubled = violations([*items[:3], items[2], *items[3:]])
    assert [(one.seq, one.rule) for one in doubled] == [(3, "overlap"), (3, "delivery")]
    wide = [attrs.evolve(item, first_seq=item.first_seq - 1) if item.seq == 4 else item for item in items]
    assert {one.rule for one in violations(wide)} == {"overlap"}


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        # turns
        ([*BEGIN, *END[:1], ("t1", complete("", 2)), ("t1", Message("x", "a", 0))], "turn"),
        ([*BEGIN, *END[:1], ("t1", complete("", 2)), ("t1", complete("", 2))], "turn"),
        ([*BEGIN, ("t1", Message("x", "a", 0)), d("m1", "answered"), ("t1", ERROR)], "turn"),
        ([*BEGIN, ("t1", complete("", 2))], "turn"),
        ([*BEGIN, d("m1", "answered"), ("t1", Message("x", "a", 0))], "turn"),
        ([*BEGIN, ("t2", Message("x", "a", 0))], "turn"),
        ([*BEGIN, ("t9", UserMessage("m9", "x")), ("t9", TurnStarted("m9"))], "turn"),
        ([*BEGIN[:2], ("t1", Message("x", "a", 0))], "turn"),
        ([("t1", Message("x", "a", 0))], "turn"),
        ([("t1", Notice("steering_refused", "no"))], "turn"),
        ([*BEGIN[:2], ("t1", Notice("later_held", "x"))], "turn"),
        ([*BEGIN, d("m1", "failed"), ("t1", ERROR), ("t1", Notice("later_held", "x"))], "turn"),
        ([BEGIN[0], (None, TurnStarted("m1"))], "turn"),
        # messages and deliveries
        ([*BEGIN, ("t2", UserMessage("m1", "hello"))], "message"),
        ([*BEGIN, d("m9", "queued")], "message"),
        ([("t1", TurnStarted("m1"))], "message"),
        ([*BEGIN, d("m1", "handed")], "delivery"),
        ([*BEGIN[:3], d("m1", "answered")], "delivery"),
        ([*BEGIN, d("m1", "cancelled")], "delivery"),
        ([BEGIN[0], d("m1", "consumed")], "delivery"),
        ([BEGIN[0], d("m1", "handed")], "delivery"),
        ([*BEGIN[:3], d("m1", "queued")], "delivery"),
        ([*BEGIN, ("t1", UserMessage("m2", "s")), d("m2", "handed"), *END], "delivery"),
        ([*BEGIN, ("t2", UserMessage("m2", "s")), d("m2", "queued", "t2"), d("m2", "unknown")], "delivery"),
        # what is open must be closed, once
        ([*BEGIN, WORK[3], d("m1", "failed"), ("t1", ERROR)], "permission"),
        ([*BEGIN, WORK[3], WORK[4], WORK[4]], "permission"),
        ([*BEGIN, WORK[5], d("m1", "failed"), ("t1", ERROR)], "task"),
        ([*BEGIN, WORK[5], WORK[7], WORK[7]], "task"),
        ([*BEGIN, WORK[6]], "task"),
        ([*BEGIN, WORK[8]], "tool"),
        ([*BEGIN, WORK[2], WORK[8], WORK[8]], "tool"),
        # text
        ([*BEGIN, ("t1", Message("x", "a", 0)), ("t1", Thinking("x", "a", 1))], "text"),
        ([*BEGIN, *WORK, d("m1", "answered"), ("t1", complete("one and twos", 2))], "text"),
        ([*BEGIN, *WORK, d("m1", "answered"), ("t1", complete("one and owt", 2))], "text"),
        ([*BEGIN, *WORK, d("m1", "answered"), ("t1", complete("one and two", 3))], "count"),
        ([*BEGIN, ("t1", Message("\x01" * (MAX_PIECE_BYTES // 6 + 1), "a", 0))], "fold"),
    ],
)
def test_what_is_broken_is_found(lines: Sequence[Line], rule: str) -> None:
    assert rules(lines)[:1] == [rule]


def test_what_a_finished_turn_should_have_folded() -> None:
    half = "x" * (MAX_PIECE_BYTES // 2)
    pieces: list[Line] = [("t1", Message(half, "a", 0)), ("t1", Message(half, "a", len(half)))]
    lines = [*BEGIN, *pieces, d("m1", "failed"), ("t1", ERROR)]
    assert rules(lines) == ["fold"]
    assert violations(journal(lines), folded=False) == []
    pieces.insert(1, ("t1", Thinking("hm", "a", 0)))
    assert rules([*BEGIN, *pieces, d("m1", "failed"), ("t1", ERROR)]) == []
    large: list[Line] = [("t1", Message(half, "a", 0)), ("t1", Message(half + "y", "a", len(half)))]
    assert rules([*BEGIN, *large, d("m1", "failed"), ("t1", ERROR)]) == []
    assert rules([*BEGIN, *pieces[:1], pieces[2]]) == [], "a turn that runs need not be folded"


def test_the_end_of_a_tool_whose_beginning_nobody_told() -> None:
    """A driver gives it no name; it is the agent's omission, and no event is missing."""
    assert rules([*BEGIN, ("t1", ToolFinished("x", "", "out", is_error=False))]) == []


def test_what_came_from_elsewhere_may_skip_steps() -> None:
    lines: list[Line] = [
        ("import-q", UserMessage("import-q", "unanswered")),
        d("import-q", "failed", "import-q"),
        ("import-a", TurnStarted("import-a")),
        d("import-a", "handed", "import-a"),
        d("import-a", "consumed", "import-a"),
        d("import-a", "answered", "import-a"),
        ("import-a", complete("", 2)),
    ]
    assert violations(journal(lines), imported_prefix="import-") == []
    assert set(rules(lines)) == {"message", "delivery"}


def test_what_is_kept_is_bounded() -> None:
    lines: list[Line] = [("t1", Message("x", "a", 0))] * (MAX_FOUND + 5)
    assert len(violations(journal(lines))) == MAX_FOUND
