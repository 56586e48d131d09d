"""The relay's words: any bytes give an answer or an error, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgehub.agents.relay.protocol import (
    LastWords,
    LineTooLong,
    MessageTooLong,
    Order,
    PayloadFinder,
    fit_request,
    read_payload,
)
from bridgehub.protocol.messages import PastMessage

OUTPUT = b"log\nJARVIS_PAYLOAD={}\n JARVIS_PAYLOAD=no\nJARVIS\n\nJARVIS_PAYLOAD=last\r\nJARVIS_PAYLOADX"


@given(st.lists(st.integers(0, len(OUTPUT)), max_size=12))
def test_the_last_payload_line_is_found_in_any_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(OUTPUT)]
    finder = PayloadFinder()
    for start, end in itertools.pairwise(places):
        finder.feed(OUTPUT[start:end])
    assert finder.finish() == b"last\r"


def test_a_last_line_needs_no_end_and_a_long_one_is_refused() -> None:
    finder = PayloadFinder(limit_bytes=10)
    finder.feed(b"x" * 1000 + b"\nJARVIS_PAYLOAD=0123456789")
    assert finder.finish() == b"0123456789"
    with pytest.raises(LineTooLong):
        finder.feed(b"JARVIS_PAYLOAD=0123456789X")


@given(st.binary())
def test_any_payload_gives_a_word(data: bytes) -> None:
    assert read_payload(data).kind in ("text", "nothing", "refused", "broken")


@given(st.lists(st.text(max_size=50), max_size=8), st.integers(400, 1500))
def test_as_much_history_as_fits(texts: list[str], limit: int) -> None:
    texts = [text.encode(errors="ignore").decode() for text in texts]
    past = [PastMessage("user", text) for text in texts]

    def fits(count: int) -> bool:
        order = Order("/", "s", "m", "codex_to_claude", past[len(past) - count :], len(past) - count)
        try:
            return fit_request(order, limit).left_out == len(past) - count
        except MessageTooLong:
            return False

    most = max((count for count in range(len(past) + 1) if fits(count)), default=None)
    order = Order("/", "s", "m", "codex_to_claude", past)
    if most is None:
        with pytest.raises(MessageTooLong):
            fit_request(order, limit)
    else:
        fitted = fit_request(order, limit)
        assert fitted.left_out == len(past) - most
        assert len(fitted.request.encode()) <= limit


def test_last_words_are_the_last() -> None:
    words = LastWords()
    for _ in range(100):
        words.feed(b"abc " * 30)
    words.feed(b"\xff key=hunter2\n")
    assert words.text().endswith("key=hunter2")
    assert len(words.text()) <= 2048
