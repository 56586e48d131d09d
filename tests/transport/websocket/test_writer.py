"""The writer of a connection: what it writes at once, and in which order."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from transport.streams import FrameStream
from transport.websocket.frames import text_frame
from transport.websocket.writer import DeviceWriter

LARGE = b"x" * (8 * 1024 * 1024)
"""More than a socket takes at once."""


@attrs.define(eq=False)
class Source:
    """Gives what the test puts in; by the short way too if it `is_plain`."""

    news: list[bytes] = attrs.field(factory=list)
    is_plain: bool = True
    active: bool = True
    count_written: int = 0

    async def take(self, now: float) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._taken()

    def take_nowait(self) -> bytes | None:
        return self._taken() if self.is_plain else None

    def written(self, now: float) -> None:
        self.count_written += 1

    def due(self, now: float) -> float:
        return now if self.news else float("inf")

    def _taken(self) -> bytes:
        frames = b"".join(map(text_frame, self.news))
        self.news.clear()
        return frames


@attrs.define(eq=False)
class Owner:
    """Runs a writer, and counts how often it had to. `beats` are the texts of a heartbeat."""

    nursery: trio.Nursery
    stream: FrameStream
    beats: list[bytes] = attrs.field(factory=list)
    starts: int = 0
    writer: DeviceWriter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.writer = DeviceWriter(self.stream, self)

    def heartbeats(self) -> Sequence[bytes]:
        return self.beats

    def start_writing(self) -> None:
        self.starts += 1
        self.nursery.start_soon(self.writer.run)


@attrs.define(eq=False)
class Written:
    """A writer that rests, and the device at the other end."""

    owner: Owner
    device: trio.SocketStream

    @property
    def writer(self) -> DeviceWriter:
        return self.owner.writer

    def arrived(self) -> bytes:
        """Return what is there without letting anybody run."""
        try:
            return os.read(self.device.socket.fileno(), 65536)
        except BlockingIOError:
            return b""

    async def read(self, size: int) -> bytes:
        data = b""
        with trio.fail_after(20):  # noqa: ASYNC912 - waits, or has it
            while len(data) < size:
                data += await self.device.receive_some()
        return data


@asynccontextmanager
async def idle_writer() -> AsyncIterator[Written]:
    ends = [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair()]
    async with ends[0], ends[1], trio.open_nursery() as nursery:
        owner = Owner(nursery, FrameStream(ends[0], b"", b"", 5.0))
        owner.start_writing()
        await wait_all_tasks_blocked()
        yield Written(owner, ends[1])
        nursery.cancel_scope.cancel(reason="test done")


async def test_news_are_written_as_they_come() -> None:
    async with idle_writer() as made:
        source = Source()
        for word in (b"a", b"b"):
            source.news.append(word)
            made.writer.mark_ready(source, source.take_nowait)
            assert made.arrived() == text_frame(word)
        assert source.count_written == 2
        await wait_all_tasks_blocked()
        assert made.arrived() == b""


async def test_what_needs_more_than_the_tail_waits_for_the_task() -> None:
    async with idle_writer() as made:
        source = Source([b"a"], is_plain=False)
        made.writer.mark_ready(source, source.take_nowait)
        assert made.arrived() == b""
        assert await made.read(3) == text_frame(b"a")


async def test_replies_that_wait_come_first() -> None:
    async with idle_writer() as made:
        source = Source([b"event"])
        made.writer.put(b"reply")
        made.writer.mark_ready(source, source.take_nowait)
        assert made.arrived() == b""
        assert await made.read(14) == text_frame(b"reply") + text_frame(b"event")


async def test_two_sources_take_turns_in_the_task() -> None:
    async with idle_writer() as made:
        one, other = Source([b"a"], is_plain=False), Source([b"b"])
        made.writer.mark_ready(one, one.take_nowait)
        made.writer.mark_ready(other, other.take_nowait)
        assert await made.read(6) == text_frame(b"a") + text_frame(b"b")


async def test_a_source_that_left_is_not_asked() -> None:
    async with idle_writer() as made:
        source = Source([b"a"], active=False)
        made.writer.mark_ready(source, source.take_nowait)
        await wait_all_tasks_blocked()
        assert made.arrived() == b""


async def test_the_rest_of_a_frame_comes_before_anything_else() -> None:
    async with idle_writer() as made:
        source = Source([LARGE])
        made.writer.mark_ready(source, source.take_nowait)
        assert made.writer.stream.has_rest
        assert made.writer.waiting_bytes >= len(LARGE)
        assert source.count_written == 0
        source.news.append(b"later")
        made.writer.mark_ready(source, source.take_nowait)
        made.writer.put(b"reply")
        expected = text_frame(LARGE) + text_frame(b"reply") + text_frame(b"later")
        assert await made.read(len(expected)) == expected
        await wait_all_tasks_blocked()
        assert source.count_written == 2


async def test_a_control_frame_does_not_cut_a_frame_in_two() -> None:
    async with idle_writer() as made, trio.open_nursery() as nursery:
        source = Source([LARGE])
        made.writer.mark_ready(source, source.take_nowait)
        nursery.start_soon(made.writer.stream.send_all, b"\x8a\x00")
        expected = text_frame(LARGE) + b"\x8a\x00"
        assert await made.read(len(expected)) == expected


async def test_a_device_that_is_gone_ends_the_writer() -> None:
    with pytest.RaisesGroup(trio.BrokenResourceError), trio.fail_after(20):
        async with idle_writer() as made:
            await made.device.aclose()
            source = Source([b"a"])
            made.writer.mark_ready(source, source.take_nowait)
            await trio.sleep_forever()


def tasks(made: Written) -> int:
    """How many tasks write now."""
    return len(made.owner.nursery.child_tasks)


async def test_a_writer_with_nothing_to_write_has_no_task() -> None:
    async with idle_writer() as made:
        assert tasks(made) == 0
        made.writer.put(b"reply")
        assert await made.read(7) == text_frame(b"reply")
        await wait_all_tasks_blocked()
        assert (tasks(made), made.owner.starts) == (0, 2)


async def test_replies_put_at_once_take_one_task() -> None:
    async with idle_writer() as made:
        made.writer.put(b"one")
        made.writer.put(b"two")
        assert await made.read(10) == text_frame(b"one") + text_frame(b"two")
        assert made.owner.starts == 2


async def test_the_task_waits_for_more_events_until_the_next_heartbeat() -> None:
    async with idle_writer() as made:
        made.owner.beats = [b"beat"]
        source = Source([b"a"], is_plain=False)
        made.writer.mark_ready(source, source.take_nowait)
        assert await made.read(3) == text_frame(b"a")
        await wait_all_tasks_blocked()
        assert tasks(made) == 1
        source.news.append(b"b")
        made.writer.mark_ready(source, source.take_nowait)
        assert await made.read(3) == text_frame(b"b")
        await wait_all_tasks_blocked()
        made.writer.heartbeat_now()
        assert await made.read(6) == text_frame(b"beat")
        await wait_all_tasks_blocked()
        assert (tasks(made), made.owner.starts) == (0, 2)


async def test_a_heartbeat_of_an_idle_connection_takes_no_task() -> None:
    async with idle_writer() as made:
        made.owner.beats = [b"one", b"two"]
        made.writer.heartbeat_now()
        assert made.arrived() == text_frame(b"one") + text_frame(b"two")
        made.owner.beats = []
        made.writer.heartbeat_now()
        assert (made.arrived(), made.owner.starts) == (b"", 1)


async def test_a_heartbeat_comes_after_replies_that_wait() -> None:
    async with idle_writer() as made:
        made.owner.beats = [b"beat"]
        made.writer.put(b"reply")
        made.writer.heartbeat_now()
        assert made.arrived() == b""
        assert await made.read(13) == text_frame(b"reply") + text_frame(b"beat")


async def test_a_heartbeat_that_the_socket_cuts_off_is_written_whole() -> None:
    async with idle_writer() as made:
        made.owner.beats = [LARGE]
        made.writer.heartbeat_now()
        assert made.writer.stream.has_rest
        expected = text_frame(LARGE)
        assert await made.read(len(expected)) == expected


async def test_nothing_starts_after_the_end_of_the_connection() -> None:
    async with idle_writer() as made:
        made.owner.beats = [b"beat"]
        made.writer.ended = True
        made.writer.heartbeat_now()
        made.writer.put(b"reply")
        await wait_all_tasks_blocked()
        assert (made.arrived(), made.owner.starts) == (b"", 1)
