"""What devices saw, held against a journal: each way to be wrong is found, and a view that is right passes."""

from __future__ import annotations

from hashlib import sha256

import attrs
import orjson
import pytest

from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from actors.events.pieces import join_pieces
from actors.events.work import TaskProgress, TaskStarted
from tests.support.invariants import (
    accepted_problems,
    committed_of,
    journal_problems,
    prompt_problems,
    view_problems,
)
from transport.v3.events import encode_event

EVENTS: list[Event] = [
    UserMessage("m", "words"),
    TurnStarted("m"),
    Delivery("m", "handed"),
    Delivery("m", "consumed"),
    Message("one ", "a", 0),
    Message("two ", "a", 4),
    TaskStarted("k", "dig", "echo"),
    TaskProgress("k", "dig", "echo", "deeper"),
    Message("three", "a", 8),
]
LIVE = [Committed(seq, seq, 1000 + seq, "t", "ipad", event) for seq, event in enumerate(EVENTS, 1)]
FOLDED = join_pieces(LIVE)


def kinds(seen: list[Committed], *, to_the_end: bool = True) -> list[str]:
    return [one.kind for one in view_problems("ipad", FOLDED, seen, to_the_end=to_the_end)]


@pytest.mark.parametrize("item", LIVE, ids=lambda item: f"{item.seq}")
def test_a_frame_is_read_as_the_event_that_it_was(item: Committed) -> None:
    assert committed_of(orjson.loads(encode_event("s", 1, item))) == item


def test_views_that_are_right() -> None:
    assert len(FOLDED) == len(LIVE) - 1
    assert kinds(LIVE) == kinds(FOLDED) == []
    assert kinds(LIVE[6:]) == [], "it may begin anywhere"
    assert kinds([*LIVE[:5], *FOLDED[4:]]) == [], "a folded frame may begin before the position"
    assert kinds(LIVE[:3], to_the_end=False) == []


def test_views_that_are_wrong() -> None:
    assert kinds([*LIVE[:4], *LIVE[6:]]) == ["gap", "gap"]
    assert kinds([*LIVE, LIVE[-1]]) == ["doubled"]
    assert kinds(LIVE[:-1]) == ["lost"]
    other = attrs.evolve(LIVE[4], event=Message("eno ", "a", 0))
    assert kinds([*LIVE[:4], other, *LIVE[5:]]) == ["stale"]
    other = attrs.evolve(LIVE[0], event=UserMessage("m", "other words"))
    assert kinds([other, *LIVE[1:]]) == ["stale"]


def test_an_answer_that_is_short_at_its_end() -> None:
    text = "one two three"
    done = Complete(2, len(text), sha256(text.encode()).hexdigest())
    end = Committed(10, 10, 1010, "t", None, done)
    short = attrs.evolve(LIVE[8], event=Message("thr", "a", 8))
    found = view_problems("ipad", [*FOLDED, end], [*LIVE[:8], short, end])
    assert [one.kind for one in found] == ["lost"]


def test_accepted_messages() -> None:
    assert accepted_problems(LIVE, {"m": 1}) == []
    assert [one.kind for one in accepted_problems(LIVE, {"m": 2})] == ["lost"]
    assert [one.kind for one in accepted_problems(LIVE, {"n": 1})] == ["lost"]
    assert [one.kind for one in accepted_problems([*LIVE, LIVE[0]], {"m": 1})] == ["doubled"]


def test_what_an_agent_had() -> None:
    answered = Committed(10, 10, 0, "t", None, Delivery("m", "answered"))
    assert prompt_problems(LIVE, []) == prompt_problems(LIVE, ["words"]) == []
    assert [one.kind for one in prompt_problems(LIVE, ["words", "words"])] == ["doubled"]
    assert [one.kind for one in prompt_problems([*LIVE, answered], [])] == ["lost"]
    again = Committed(11, 11, 0, "t2", None, TurnStarted("m"))
    assert prompt_problems([*LIVE, again], ["words", "words"]) == [], "a person had it tried again"


def test_a_journal_by_itself() -> None:
    assert journal_problems(LIVE) == []
    assert [one.kind for one in journal_problems(LIVE[1:])][:1] == ["journal"]
