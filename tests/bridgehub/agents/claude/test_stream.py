"""What is joined of the program's output, and that nothing else of it changes, however the pipe cuts it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import anyio.abc
import attrs
import orjson
import pytest
import trio
from anyio._backends._trio import ReceiveStreamWrapper
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from bridgehub.agents.base import JOIN_S
from bridgehub.agents.claude.stream import READ_BYTES, Output, join_lines
from tests.support.pipes import ended_pipe, pipe, waits_for_data_alone

FIELDS = {"text_delta": "text", "thinking_delta": "thinking"}


def piece(
    text: str, index: int = 0, kind: str = "text_delta", parent: str | None = None, **more: Any
) -> bytes:
    delta = {"type": kind, FIELDS[kind]: text, **more}
    event = {"type": "content_block_delta", "index": index, "delta": delta}
    return orjson.dumps({"type": "stream_event", "event": event, "parent_tool_use_id": parent})


def other(number: int = 0) -> bytes:
    return b'{"type":"system","number":%d}' % number


@attrs.define(eq=False)
class Pipe(anyio.abc.ByteReceiveStream):
    """Gives chunks, and notes when it was asked for each."""

    chunks: deque[bytes]
    asked_at: list[float] = attrs.field(factory=list)

    async def receive(self, max_bytes: int = READ_BYTES) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        if not self.chunks:
            raise anyio.EndOfStream
        return self.chunks.popleft()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def read_from(pipe: Pipe) -> list[str]:
    with ended_pipe() as source:
        return [text async for text in Output(pipe, source)]


async def read(chunks: Sequence[bytes]) -> str:
    return "".join(await read_from(Pipe(deque(chunks))))


def read_all(chunks: Sequence[bytes]) -> str:
    return trio.run(partial(read, chunks), clock=MockClock(autojump_threshold=0))


def told(lines: Sequence[bytes]) -> list[tuple[object, str]]:
    """Return what lines mean: texts of neighbouring pieces of a block as one, all else as it is."""
    found: list[tuple[object, str]] = []
    for line in lines:
        body: Mapping[str, Any] = orjson.loads(line)
        delta = body.get("event", {}).get("delta", {})
        field = FIELDS.get(delta.get("type", ""))
        if field is None or len(delta) != 2:
            found.append((line, ""))
            continue
        name = (field, body["event"]["index"], body["parent_tool_use_id"])
        before = found.pop()[1] if found and found[-1][0] == name else ""
        found.append((name, before + delta[field]))
    return found


LINES = st.lists(
    st.builds(
        piece,
        st.text(max_size=3),
        st.integers(0, 1),
        st.sampled_from(list(FIELDS)),
        st.sampled_from([None, "tool"]),
    )
    | st.builds(other, st.integers(0, 9))
    | st.just(piece("x", estimated=7))
)


@given(LINES)
def test_joining_keeps_every_text_and_the_order(lines: list[bytes]) -> None:
    found = list(join_lines(lines))
    assert told(found) == told(lines)
    names = [name for name, _ in told(found)]
    assert len(names) == len(found), "neighbours were left apart"
    assert all(one != two or isinstance(one, bytes) for one, two in pairwise(names))


@given(LINES, st.integers(1, 90))
def test_the_output_means_the_same_however_it_is_cut(lines: list[bytes], step: int) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    found = read_all([whole[start : start + step] for start in range(0, len(whole), step)])
    assert told(found.encode().splitlines()) == told(lines)


def test_a_joined_piece_keeps_the_other_fields_of_the_first() -> None:
    lines = [piece("a", parent="tool"), piece("b", parent="tool")]
    assert list(join_lines(lines)) == [piece("ab", parent="tool")]


@pytest.mark.parametrize(
    "line",
    [
        piece("x").replace(b'"x"', b'"\\ud83d"'),
        piece("x")[:-3],
        piece("x").replace(b'"x"', b"7"),
        piece("x", estimated=7),
    ],
    ids=["half a surrogate pair", "cut off", "no text", "more than a text"],
)
def test_what_is_no_plain_piece_stays_as_it_is(line: bytes) -> None:
    assert list(join_lines([piece("a"), line, piece("b")])) == [piece("a"), line, piece("b")]


def test_a_long_line_is_handed_on_in_parts_and_whole_in_the_end() -> None:
    long = orjson.dumps({"type": "user", "content": "ä😀" * READ_BYTES})
    whole = piece("a") + b"\n" + long + b"\n" + piece("b") + b"\n" + piece("c") + b"\n"
    chunks = [whole[start : start + 1001] for start in range(0, len(whole), 1001)]
    found = read_all(chunks).encode().splitlines()
    assert told(found) == told(whole.splitlines())
    assert found[1] == long


async def test_a_line_without_an_end_is_not_held(autojump_clock: MockClock) -> None:
    chunks = [b"x" * READ_BYTES] * 3
    assert list(map(len, await read_from(Pipe(deque(chunks))))) == [READ_BYTES] * 3


def test_an_end_within_a_line_gives_what_there_is() -> None:
    assert read_all([piece("a") + b"\n" + other()]).encode().splitlines() == [piece("a"), other()]


def test_an_end_within_a_character_is_no_error_of_its_own() -> None:
    assert read_all([other() + b'\n{"text":"\xe2\x82']) == f'{other().decode()}\n{{"text":"'


async def test_a_read_behind_a_piece_waits_for_its_neighbours(autojump_clock: MockClock) -> None:
    pipe = Pipe(deque([other() + b"\n", piece("a") + b"\n", piece("b") + b"\n" + other() + b"\n"]))
    began = trio.current_time()
    assert len(await read_from(pipe)) == 3
    waits = [round(after - before, 6) for before, after in pairwise([began, *pipe.asked_at])]
    assert waits == [0, 0, JOIN_S, 0]


async def test_nothing_wakes_between_two_pieces(mock_clock: MockClock) -> None:
    with pipe() as (source, sink):
        async with trio.lowlevel.FdStream(source) as stream:
            output = Output(ReceiveStreamWrapper(stream), source)
            await waits_for_data_alone(partial(anext, output), sink, piece("a") + b"\n", mock_clock)


async def test_a_read_that_was_full_is_not_followed_by_a_wait(autojump_clock: MockClock) -> None:
    lines = piece("a" * 100) + b"\n"
    full = (lines * READ_BYTES)[-READ_BYTES:]
    pipe = Pipe(deque([full, full]))
    began = trio.current_time()
    assert await read_from(pipe)
    assert trio.current_time() == began
