"""Joining and cutting pieces never changes a text, and keeps within 256 KiB of JSON."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events.committed import Committed
from actors.events.conversation import Message, Notice, Thinking
from actors.events.pieces import MAX_PIECE_BYTES, fits, join_pieces, json_size, neighbours, split_text

TEXT = st.text(max_size=40)
PIECE = st.tuples(
    st.sampled_from(["message", "thinking", "notice"]), st.sampled_from("ab"), TEXT, st.integers(1, 3)
)


def row_of(pieces: list[tuple[str, str, str, int]]) -> list[Committed]:
    items: list[Committed] = []
    offsets: dict[tuple[str, str], int] = {}
    seq = 0
    for kind, block, text, span in pieces:
        if kind == "notice":
            seq += 1
            items.append(Committed(seq, seq, 0, "t", None, Notice("n", text)))
            continue
        cls = Message if kind == "message" else Thinking
        offset = offsets.get((kind, block), 0)
        items.append(Committed(seq + span, seq + 1, 0, "t", None, cls(text, block, offset)))
        offsets[kind, block] = offset + len(text)
        seq += span
    return items


def texts(items: list[Committed]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for item in items:
        event = item.event
        if isinstance(event, Message | Thinking):
            key = (event.kind, event.block)
            assert event.offset == len(found.get(key, ""))
            found[key] = found.get(key, "") + event.content
    return found


@given(st.lists(PIECE, max_size=30), st.integers(60, 400), st.sets(st.integers(1, 40)))
def test_joining_keeps_texts_offsets_and_ranges(
    pieces: list[tuple[str, str, str, int]], limit: int, starts: set[int]
) -> None:
    items = row_of(pieces)
    joined = join_pieces(items, limit, starts=starts)
    assert texts(joined) == texts(items)
    assert [i.event for i in joined if isinstance(i.event, Notice)] == [
        i.event for i in items if isinstance(i.event, Notice)
    ]
    position = 0
    for item in joined:
        assert item.first_seq == position + 1 <= item.seq
        position = item.seq
        inside = {other.first_seq for other in items if item.first_seq < other.first_seq <= item.seq}
        assert not inside & starts
    assert position == (items[-1].seq if items else 0)
    whole = {(item.first_seq, item.seq) for item in items}
    for item in joined:
        if (item.first_seq, item.seq) not in whole and isinstance(item.event, Message | Thinking):
            assert json_size(item.event.content) <= limit


@given(st.lists(PIECE, max_size=30))
def test_joined_without_a_reason_to_part_no_neighbours_are_left(
    pieces: list[tuple[str, str, str, int]],
) -> None:
    joined = join_pieces(row_of(pieces))
    assert not any(neighbours(a, b) for a, b in pairwise(joined))


@given(st.text(max_size=300), st.integers(6, 100))
def test_splitting_keeps_the_text_and_the_limit(text: str, limit: int) -> None:
    parts = split_text(text, limit)
    assert "".join(parts) == text
    assert all(parts)
    assert all(json_size(part) <= limit for part in parts)
    assert fits(text, limit) == (json_size(text) <= limit)


@pytest.mark.parametrize("letter", ["x", "\x00", "ß", "\U0001f600", '"'])
def test_the_limit_counts_bytes_of_json(letter: str) -> None:
    each = len(orjson.dumps(letter)) - 2
    full = letter * (MAX_PIECE_BYTES // each)
    assert fits(full)
    assert split_text(full) == [full]
    assert not fits(full + letter)
    parts = split_text(full + letter)
    assert len(parts) == 2
    assert max(map(json_size, parts)) <= MAX_PIECE_BYTES


def test_pieces_of_two_turns_are_no_neighbours() -> None:
    one = Committed(1, 1, 0, "t1", None, Message("a", "b", 0))
    two = Committed(2, 2, 0, "t2", None, Message("c", "b", 0))
    assert join_pieces([one, two]) == [one, two]
