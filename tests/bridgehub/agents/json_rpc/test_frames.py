"""The WebSocket of Codex, as bytes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridgehub.agents.errors import BadOutput
from bridgehub.agents.json_rpc.frames import MAX_HEAD_BYTES, PING, PONG, Frames, frame

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
LIMIT = 200_000


def served(data: bytes, begin: int = 129) -> bytes:
    """Return a frame as a server sends it: without a mask."""
    size = len(data)
    if size < 126:
        return bytes((begin, size)) + data
    if size < 1 << 16:
        return bytes((begin, 126)) + size.to_bytes(2, "big") + data
    return bytes((begin, 127)) + size.to_bytes(8, "big") + data


def read(*chunks: bytes) -> list[bytes]:
    frames = Frames(LIMIT)
    return [bytes(one) for chunk in chunks for one in frames.feed(chunk)]


@given(st.lists(st.sampled_from([b"", b"a", b"x" * 125, b"y" * 126, b"z" * 70_000]), max_size=4), st.data())
def test_messages_come_whole_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    stream = HEAD + b"".join(map(served, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*chunks) == messages


def test_parts_are_joined_and_a_ping_between_them_is_answered() -> None:
    frames = Frames(LIMIT)
    stream = HEAD + served(b"he", 1) + served(b"?", 128 | PING) + served(b"llo", 128)
    assert [bytes(one) for one in frames.feed(stream)] == [b"hello"]
    assert frames.replies == [frame(b"?", PONG)]


def test_nothing_is_read_after_the_end() -> None:
    frames = Frames(LIMIT)
    assert list(frames.feed(HEAD + served(b"", 136) + served(b"late"))) == []
    assert frames.is_over


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"x" * (MAX_HEAD_BYTES + 1),
        HEAD + served(b"a", 129 | 64),
        HEAD + served(b"a", PING),
        HEAD + bytes((129, 127)) + (LIMIT + 1).to_bytes(8, "big"),
    ],
    ids=["refusal", "no HTTP", "extension", "half a ping", "too long"],
)
def test_what_is_not_the_protocol_is_refused(stream: bytes) -> None:
    with pytest.raises(BadOutput):
        read(stream)


@given(st.binary(max_size=300))
def test_any_bytes_give_messages_or_one_error(data: bytes) -> None:
    with suppress(BadOutput):
        read(HEAD + data)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_what_we_send_has_the_mask_that_changes_nothing(size: int) -> None:
    sent = frame(b"x" * size)
    assert sent.endswith(b"\0\0\0\0" + b"x" * size)
    assert sent[1] & 128
