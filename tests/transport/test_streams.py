"""The streams below trio-websocket, over memory: what is put back, and what a broken write leaves."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from wsproto.frame_protocol import FrameProtocol

from transport.frames import text_frame
from transport.streams import FrameStream, PutBackStream, WriteTimedOut


def clogged() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """A pair whose writes block until somebody reads."""
    return trio.testing.lockstep_stream_pair()


async def test_what_is_put_back_comes_first() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = PutBackStream(ours, b"abcdef")
    await theirs.send_all(b"ghi")
    assert await stream.receive_some(4) == b"abcd"
    assert await stream.receive_some() == b"ef"
    assert await stream.receive_some() == b"ghi"


async def test_frames_are_refused_after_the_close_frame() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FrameStream(ours, b"", b"", 1.0)
    close = FrameProtocol(client=False, extensions=[]).close(1001, "later")
    assert await stream.send_frames(text_frame(b"one"))
    await stream.send_all(close)
    assert not await stream.send_frames(text_frame(b"two"))
    assert await theirs.receive_some() == text_frame(b"one") + close


async def test_two_writers_never_mix() -> None:
    ours, theirs = clogged()
    stream = FrameStream(ours, b"", b"", 5.0)
    one, two = text_frame(b"1" * 200_000), text_frame(b"2" * 200_000)
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, one)
        nursery.start_soon(stream.send_frames, two)
        while len(got) < len(one) + len(two):
            got += await theirs.receive_some(7777)
    assert bytes(got) in (one + two, two + one)


async def test_a_write_that_nobody_takes_closes(autojump_clock: trio.testing.MockClock) -> None:
    ours, _ = clogged()
    stream = FrameStream(ours, b"", b"", 60.0)
    started = trio.current_time()
    with pytest.raises(WriteTimedOut):
        await stream.send_frames(text_frame(b"x"))
    assert trio.current_time() - started == 60.0
    assert stream.timed_out
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"later")
    assert not await stream.send_frames(b"later")


async def test_a_slow_line_that_moves_is_no_dead_one(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = clogged()
    stream = FrameStream(ours, b"", b"", 60.0)
    frame = text_frame(b"x" * 500_000)
    got = 0

    async def read_slowly() -> None:
        nonlocal got
        while got < len(frame):
            await trio.sleep(30)
            got += len(await theirs.receive_some(64 * 1024))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        assert await stream.send_frames(frame)
    assert trio.current_time() > 200


async def test_a_cancelled_write_closes() -> None:
    ours, theirs = clogged()
    stream = FrameStream(ours, b"", b"", 60.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_frames, text_frame(b"x"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not await stream.send_frames(text_frame(b"y"))
    got = b""
    while chunk := await theirs.receive_some():
        got += chunk
    assert text_frame(b"x").startswith(got)
