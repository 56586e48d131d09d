from __future__ import annotations

import orjson
import pytest

from bench.errors import BenchError
from bench.frames import Outcome, Received, evaluate, may_end, parse_frame


def message(at_us: int, content: str, offset: int | None = None, block: str = "0") -> Received:
    frame: dict[str, str | int] = {"type": "message", "content": content}
    if offset is not None:
        frame |= {"offset": offset, "block": block}
    return Received(at_us, orjson.dumps(frame).decode())


def test_each_clock_word_of_a_joined_frame_counts() -> None:
    frames = [message(1_000, "900 "), message(2_000, "1100 1900 ")]
    outcome = evaluate(frames, "clock", 3)
    assert outcome == Outcome(3, 2, 1_000, 2_000, 1, (100, 900, 100), (900, 1_100, 1_900))


def test_a_frame_that_begins_again_counts_only_what_is_new() -> None:
    frames = [message(1, "w0 w1 ", 0), message(2, "w0 w1 w2 ", 0), message(3, "w3 ", 9)]
    assert evaluate(frames, "words", 4).pieces == 4


def test_blocks_have_lengths_of_their_own() -> None:
    frames = [message(1, "w0 ", 0, "a"), message(2, "w1 ", 0, "b"), message(3, "w2 ", 3, "a")]
    assert evaluate(frames, "words", 3).pieces == 3


def test_a_gap_breaks_the_run() -> None:
    with pytest.raises(BenchError, match="a gap"):
        evaluate([message(1, "w0 ", 0), message(2, "w2 ", 6)], "words", 2)


def test_a_missing_piece_breaks_the_run() -> None:
    with pytest.raises(BenchError, match="1 pieces of 2"):
        evaluate([message(1, "w0 ")], "words", 2)


def test_nothing_at_all_breaks_the_run() -> None:
    with pytest.raises(BenchError, match="0 pieces of 2"):
        evaluate([], "words", 2)


def test_characters_are_code_points() -> None:
    assert evaluate([message(1, "xä😀", 0)], "big", 3).pieces == 3


def test_the_first_frame_starts_the_clock_of_a_throughput() -> None:
    outcome = evaluate([message(0, "a b "), message(500_000, "c "), message(1_000_000, "d ")], "words", 4)
    assert outcome.rate == 2.0


def test_one_frame_has_no_throughput() -> None:
    outcome = evaluate([message(7, "a b ")], "words", 2)
    with pytest.raises(BenchError, match="one frame"):
        _ = outcome.rate


def test_only_an_end_ends() -> None:
    assert may_end('{"type":"complete","content":""}')
    assert not may_end('{"type":"message","content":"complete"}')
    assert not may_end('{"type":"notice","content":"\\"complete\\""}')


@pytest.mark.parametrize("broken", ["error", "interrupted", "rejected"])
def test_a_run_that_broke_says_so(broken: str) -> None:
    with pytest.raises(BenchError, match=broken):
        may_end(f'{{"type":"{broken}","code":"x"}}')


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}"])
def test_a_frame_that_is_none_breaks_the_run(text: str) -> None:
    with pytest.raises(BenchError):
        parse_frame(text)
