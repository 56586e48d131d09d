"""Lines however the pipe cuts them; any line is a message or BadOutput, nothing else; joining loses no text."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgehub.agents.errors import BadOutput
from bridgehub.agents.json_rpc.messages import (
    Fields,
    LineCutter,
    Notification,
    Reply,
    ServerRequest,
    decode,
    encode,
    joined,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.integers(1, 7))
def test_lines_are_the_same_however_they_come(lines: list[bytes], step: int) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    cutter, found = LineCutter(100), []
    for start in range(0, len(whole), step):
        found += [bytes(line) for line in cutter.feed(whole[start : start + step])]
    assert found == [line for line in lines if line]


def test_a_line_without_an_end_is_refused_at_its_limit() -> None:
    cutter = LineCutter(10)
    assert list(cutter.feed(b"x" * 10)) == []
    with pytest.raises(BadOutput):
        list(cutter.feed(b"x"))


@given(st.binary(max_size=30) | JSON.map(lambda value: encode({"id": value, "method": value, "x": value})))
def test_any_line_is_a_message_or_refused(line: bytes) -> None:
    try:
        decode(line)
    except BadOutput:
        return


PIECES = st.builds(
    lambda item, delta: Notification("item/agentMessage/delta", Fields({"itemId": item, "delta": delta})),
    st.sampled_from("ab"),
    st.text(max_size=3),
)
OTHERS = st.sampled_from([Notification("item/started", Fields()), ServerRequest(1, "ask", Fields())])


@given(st.lists(PIECES | OTHERS))
def test_joining_keeps_every_text_and_the_order(messages: list[Notification | ServerRequest]) -> None:
    found = [one for one in joined(messages) if not isinstance(one, Reply)]
    assert _told(found) == _told(messages)
    assert all(
        not (
            one.method == other.method == "item/agentMessage/delta"
            and one.params.text("itemId") == other.params.text("itemId")
        )
        for one, other in pairwise(found)
    )


def _told(messages: list[Notification | ServerRequest]) -> list[tuple[str, str]]:
    """Return who said which character, in order, and everything else between."""
    told: list[tuple[str, str]] = []
    for message in messages:
        if message.method == "item/agentMessage/delta":
            told += [(message.params.text("itemId"), character) for character in message.params.text("delta")]
        else:
            told.append((message.method, ""))
    return told


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"a\ud83db", "a\ufffdb"),
        (r"\ude00", "\ufffd"),
        (r"\ud83d\ud83d\ude00\ude00", "\ufffd😀\ufffd"),
        (r"\ud83d\u0041\\ud83d", "\ufffdA\\ud83d"),
        (r"\\\ud83d\n", "\\\ufffd\n"),
    ],
)
def test_half_of_a_character_is_replaced(text: str, read: str) -> None:
    message = decode(b'{"method":"x","params":{"text":"%b"}}' % text.encode())
    assert isinstance(message, Notification)
    assert message.params.text("text") == read


@pytest.mark.parametrize(
    "line", [rb'{"method":"\ud83d"', rb"\ud83d", rb'{"method":"\ud8"}', rb'{"a":"\ud83d\q"}']
)
def test_a_line_with_another_fault_is_no_message(line: bytes) -> None:
    with pytest.raises(BadOutput):
        decode(line)
