"""The streams below trio-websocket, over memory: what is put back, and what a broken write leaves."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from wsproto.frame_protocol import FrameProtocol

from transport.streams import FrameStream, PutBackStream, WriteTimedOut
from transport.websocket.frames import text_frame

LIMIT_S = 40.0
"""A test that takes longer hangs."""


def clogged() -> tuple[trio.abc.Stream, trio.abc.Stream]:
    """A pair whose writes block until somebody reads."""
    return trio.testing.lockstep_stream_pair()


@asynccontextmanager
async def sockets(write_s: float) -> AsyncIterator[tuple[FrameStream, trio.SocketStream]]:
    """A frame stream on a real socket whose buffers are small, and the other end."""
    listening = socket.create_server(("127.0.0.1", 0))
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    ends = [trio.SocketStream(trio.socket.from_stdlib_socket(one)) for one in (ours, theirs)]
    async with ends[0], ends[1]:
        with trio.fail_after(LIMIT_S):
            yield FrameStream(ends[0], b"", b"", write_s), ends[1]


async def all_of(stream: trio.SocketStream) -> bytes:
    """Read to the end, however it ends."""
    got = b""
    try:
        while chunk := await stream.receive_some():
            got += chunk
    except trio.BrokenResourceError:
        pass
    return got


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


async def test_a_socket_that_takes_a_part_gets_the_rest_later() -> None:
    one, two = text_frame(b"1" * 3_000_000), text_frame(b"2" * 3_000_000)
    got = bytearray()
    async with sockets(LIMIT_S) as (stream, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_frames, one)
        nursery.start_soon(stream.send_all, two)
        while len(got) < len(one) + len(two):
            got += await theirs.receive_some()
    assert bytes(got) in (one + two, two + one)


async def test_half_a_frame_on_a_socket_closes_it() -> None:
    frame = text_frame(b"x" * 5_000_000)
    async with sockets(0.05) as (stream, theirs):
        with pytest.raises(WriteTimedOut):
            await stream.send_frames(frame)
        assert not await stream.send_frames(b"later")
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"later")
        got = await all_of(theirs)
        assert frame.startswith(got)
        assert got != frame
    async with sockets(LIMIT_S) as (stream, theirs):
        with trio.move_on_after(0.05) as scope:
            await stream.send_frames(frame)
        assert scope.cancelled_caught
        assert not await stream.send_frames(b"later")
        assert frame.startswith(await all_of(theirs))


async def write_on(stream: FrameStream) -> None:
    """Write until the stream refuses."""
    for _ in range(1_000):
        await stream.send_frames(text_frame(b"x" * 1_000))


async def test_a_device_that_is_gone_breaks_the_stream() -> None:
    async with sockets(LIMIT_S) as (stream, theirs):
        await trio.aclose_forcefully(theirs)
        with pytest.raises(trio.BrokenResourceError):
            await write_on(stream)


async def test_writers_take_turns_and_one_that_gives_up_is_left_out() -> None:
    ours, theirs = clogged()
    stream = FrameStream(ours, b"", b"", LIMIT_S)
    frames = [text_frame(letter) for letter in (b"a", b"b", b"c", b"d")]
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            scopes = []
            for frame in frames:
                scopes.append(trio.CancelScope())
                nursery.start_soon(_write_in, scopes[-1], stream, frame)
                await trio.testing.wait_all_tasks_blocked()
            assert not stream.can_send_now
            scopes[1].cancel(reason="it gives up")
            await trio.testing.wait_all_tasks_blocked()
            got = b""
            while len(got) < 3 * len(frames[0]):
                got += await theirs.receive_some()
        assert got == frames[0] + frames[2] + frames[3]
        assert stream.can_send_now


async def _write_in(scope: trio.CancelScope, stream: FrameStream, frame: bytes) -> None:
    with scope:
        assert await stream.send_frames(frame)
