"""A journal becomes a conversation, whatever is folded, queued or broken off."""

from __future__ import annotations

from actors.events.committed import Committed, Event
from actors.events.conversation import (
    Complete,
    Interrupted,
    Message,
    Thinking,
    TurnError,
    TurnStarted,
    UserMessage,
)
from transport.transcript import ENTRY_KINDS, Answers, entries


def rows(*events: tuple[str | None, Event]) -> list[Committed]:
    return [Committed(seq, seq, seq, turn, "ipad", event) for seq, (turn, event) in enumerate(events, 1)]


def test_blocks_join_in_order_of_first_appearance() -> None:
    answers = Answers(["t"])
    answers.add(
        rows(
            ("t", Message("Hel", "a", 0)),
            ("t", Message("wor", "b", 0)),
            ("t", Message("lo ", "a", 3)),
            ("t", Thinking("hm", "c", 0)),
            ("t", Message("ld", "b", 3)),
            ("u", Message("not mine", "a", 0)),
            (None, Message("nobody's", "a", 0)),
        )
    )
    assert answers.by_turn["t"].content == "Hello world"
    assert answers.by_turn["t"].status == "running"
    assert not answers.complete


def test_a_folded_row_over_pieces_that_were_seen_changes_nothing() -> None:
    answers = Answers(["t"])
    answers.add(rows(("t", Message("Hello", "a", 0)), ("t", Message("Hello world", "a", 0))))
    assert answers.by_turn["t"].content == "Hello world"


def test_a_long_block_is_not_copied_for_each_of_its_pieces() -> None:
    text = "x" * 100
    pieces = rows(*(("t", Message(text, "a", number * 100)) for number in range(5000)))
    answers = Answers(["t"])
    answers.add(pieces)
    held = answers.by_turn["t"]._blocks["a"].pieces
    assert all(piece is text for piece in held), "the pieces themselves, until somebody wants the text"
    assert answers.length == len(held) * 100 == len(held[0]) * 5000
    answers.add(rows(("t", Message("end", "a", 50))))
    assert (answers.by_turn["t"].content, answers.length) == ("x" * 50 + "end", 53)


def test_entries_of_a_conversation() -> None:
    items = rows(
        ("t1", UserMessage("m1", "one")),
        ("t1", TurnStarted("m1")),
        ("t2", UserMessage("m2", "two")),
        ("t1", Message("answer", "a", 0)),
        ("t1", Complete(2, 6, "00")),
        ("t2", TurnStarted("m2")),
        ("t2", TurnError("timeout", "too long", retryable=True)),
        ("t3", TurnStarted("m3")),
        ("t3", Interrupted("ipad")),
    )
    answers = Answers(["t1", "t2", "t3"])
    answers.add(items)
    assert answers.complete
    heads = [item for item in items if item.event.kind in ENTRY_KINDS]
    made = entries(heads, {"m1": "answered", "m2": "failed"}, answers.by_turn)
    assert [(one["seq"], one["role"], one["content"], one["status"]) for one in made] == [
        (1, "user", "one", "answered"),
        (2, "assistant", "answer", "complete"),
        (3, "user", "two", "failed"),
        (6, "assistant", "", "error"),
        (8, "assistant", "", "interrupted"),
    ]
    assert made[3]["error"] == {"code": "timeout", "content": "too long"}
    assert (made[0]["device_id"], made[1]["device_id"]) == ("ipad", None)
