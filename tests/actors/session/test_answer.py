"""The running answer against a naive model that keeps every piece and joins at the end."""

from __future__ import annotations

from hashlib import sha256

import attrs
from hypothesis import given
from hypothesis import strategies as st

from actors.events.codec import decode_event
from actors.events.committed import Committed
from actors.events.conversation import Message, Thinking
from actors.events.pieces import MAX_PIECE_BYTES, json_size
from actors.session.answer import AnswerText
from storage.records import Fold

STEP = st.tuples(
    st.sampled_from(["message", "thinking"]),
    st.sampled_from("abc"),
    st.text(min_size=1, max_size=12),
    st.integers(1, 3),
    st.booleans(),  # whether something else stands before it
)
Steps = list[tuple[str, str, str, int, bool]]


@attrs.define
class Model:
    """Every piece as it came."""

    items: list[Committed] = attrs.field(factory=list)
    seq: int = 0

    def piece(self, kind: str, block: str, text: str, span: int, apart: bool) -> Committed:
        cls = Message if kind == "message" else Thinking
        self.seq += apart
        item = Committed(
            self.seq + span, self.seq + 1, self.seq, "t", None, cls(text, block, self.length(kind, block))
        )
        self.seq += span
        self.items.append(item)
        return item

    def length(self, kind: str, block: str) -> int:
        return len("".join(e.content for e in self.events() if (e.kind, e.block) == (kind, block)))

    def events(self) -> list[Message | Thinking]:
        return [item.event for item in self.items if isinstance(item.event, Message | Thinking)]

    def text(self) -> str:
        blocks: dict[str, str] = {}
        for event in self.events():
            if isinstance(event, Message):
                blocks[event.block] = blocks.get(event.block, "") + event.content
        return "".join(blocks.values())


def texts(events: list[Message | Thinking]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for event in events:
        key = (event.kind, event.block)
        assert event.offset == len(found.get(key, ""))
        found[key] = found.get(key, "") + event.content
    return found


def check_folds(model: Model, folds: list[Fold], limit: int = MAX_PIECE_BYTES) -> None:
    """Folds lie at row borders, apart, within the limit; with the rows left alone they give the same text."""
    starts = {item.first_seq for item in model.items}
    ends = {item.seq for item in model.items}
    left = list(model.items)
    position = 0
    for fold in folds:
        assert position < fold.first_seq <= fold.last_seq
        assert fold.first_seq in starts
        assert fold.last_seq in ends
        position = fold.last_seq
        event = decode_event(fold.entry.kind, fold.entry.payload)
        assert isinstance(event, Message | Thinking)
        inside = [i for i in left if fold.first_seq <= i.first_seq and i.seq <= fold.last_seq]
        assert len(inside) == 1 or json_size(event.content) <= limit
        assert fold.entry.search_text == (event.content if isinstance(event, Message) else None)
        left = [i for i in left if i not in inside]
        left.append(Committed(fold.last_seq, fold.first_seq, 0, "t", None, event))
    left.sort(key=lambda item: item.seq)
    after = [item.event for item in left if isinstance(item.event, Message | Thinking)]
    assert texts(after) == texts(model.events())
    covered = [(fold.first_seq, fold.last_seq) for fold in folds]
    for item in model.items:  # each run of the answer is folded
        folded = any(first <= item.first_seq and item.seq <= last for first, last in covered)
        assert folded or isinstance(item.event, Thinking)


@given(st.lists(STEP, max_size=25), st.sampled_from([20, 40, MAX_PIECE_BYTES]))
def test_like_the_naive_model(steps: Steps, limit: int) -> None:
    model, answer = Model(), AnswerText(limit)
    for step in steps:
        assert answer.offset(step[0], step[1]) == model.length(step[0], step[1])
        answer.add(model.piece(*step))
        assert answer.length == len(model.text())
        assert answer.last_seq == model.seq
    assert answer.held == sum(len(event.content) for event in model.events())
    assert answer.sha256() == sha256(model.text().encode()).hexdigest()
    folds = answer.folds()
    assert answer.sha256() == sha256(model.text().encode()).hexdigest()
    check_folds(model, folds, limit)


@given(st.lists(STEP, max_size=25))
def test_begins_a_run_where_and_only_where_a_fold_begins(steps: Steps) -> None:
    model, answer = Model(), AnswerText()
    begun = [item.first_seq for item in (model.piece(*step) for step in steps) if answer.add(item)]
    folded = [fold.first_seq for fold in answer.folds()]
    assert set(folded) <= set(begun)
    lone = {item.first_seq for item in model.items if isinstance(item.event, Thinking)}
    assert set(begun) - set(folded) <= lone


def test_a_long_text_folds_into_rows_of_the_limit() -> None:
    model, answer = Model(), AnswerText()
    for _ in range(70):
        answer.add(model.piece("message", "a", "é" * 8192, 1, False))  # 16 KiB each as JSON
    folds = answer.folds()
    assert len(folds) == 5
    check_folds(model, folds)
    assert answer.length == 70 * 8192
