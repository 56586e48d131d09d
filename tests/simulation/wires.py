"""Connections in memory: two streams, as slow and as breakable as a plan wants them.

A stream behaves like a socket's: what was sent before a close still arrives, a reader that is slow makes the writer
wait, and a wire that is cut loses what is on its way, also half a line.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import attrs
import trio

__all__ = ["End", "Wire"]

CAPACITY_BYTES = 16 * 1024
"""Bytes on their way in one direction before a writer waits."""


def _nothing() -> None:
    pass


@attrs.define(eq=False)
class _Pipe:
    """One direction."""

    delay: Callable[[], float]
    chunks: deque[tuple[float, bytes]] = attrs.field(factory=deque)
    size: int = 0
    ends_at: float = 0.0
    stalled_until: float = 0.0
    finished: bool = False  # the writer closed: the rest, then the end
    refused: bool = False  # the reader closed
    broken: bool = False
    deaf: bool = False  # what is sent is lost, and nobody hears of it
    news: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    room: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    def wake(self) -> None:
        self.news.unpark_all()
        self.room.unpark_all()

    async def put(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        while not self.put_nowait(data):
            await self.room.park()

    def put_nowait(self, data: bytes) -> bool:
        """Send; False, and nothing sent, where there is no room."""
        if self.finished:
            raise trio.ClosedResourceError("this end was closed")
        if self.deaf:
            return True
        if self.refused or self.broken:
            raise trio.BrokenResourceError("nobody reads")
        if self.size >= CAPACITY_BYTES:
            return False
        self.ends_at = max(self.ends_at, trio.current_time() + self.delay())
        self.chunks.append((self.ends_at, data))
        self.size += len(data)
        self.news.unpark_all()
        return True

    async def get(self) -> bytes:
        waited = False
        while True:
            if self.refused:
                raise trio.ClosedResourceError("this end was closed")
            due = max(self.chunks[0][0], self.stalled_until) if self.chunks else math.inf
            if due <= trio.current_time() and waited:
                break
            if due <= trio.current_time():
                await trio.lowlevel.checkpoint()
            elif self.chunks:
                with trio.move_on_at(due):
                    await self.news.park()
            elif self.broken:
                raise trio.BrokenResourceError("the wire was cut")
            elif self.finished:
                return b""
            else:
                await self.news.park()
            waited = True
        _, data = self.chunks.popleft()
        self.size -= len(data)
        self.room.unpark_all()
        return data


@attrs.define(eq=False)
class End(trio.abc.Stream):
    """One end of a wire. `tick` is called with each use. It is its own `socket`, for those who close that."""

    incoming: _Pipe
    outgoing: _Pipe
    tick: Callable[[], None]

    @property
    def socket(self) -> End:
        return self

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.tick()
        await self.outgoing.put(bytes(data))

    def send_nowait(self, data: bytes) -> bool:
        """Send at once; False, and nothing sent, where there is no room."""
        self.tick()
        return self.outgoing.put_nowait(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self.incoming.get()
        self.tick()
        return data

    def close(self) -> None:
        """Close this end at once: what was sent still arrives. Idempotent."""
        self.outgoing.finished = not self.outgoing.deaf
        self.incoming.refused = True
        self.outgoing.wake()
        self.incoming.wake()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Wire:
    """Two ends. `delay` gives the seconds that one piece is on its way."""

    delay: Callable[[], float]
    tick: Callable[[], None] = _nothing
    near: End = attrs.field(init=False)
    far: End = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        there, back = _Pipe(self.delay), _Pipe(self.delay)
        self.near, self.far = End(back, there, self.tick), End(there, back, self.tick)

    @property
    def is_whole(self) -> bool:
        """Whether neither end is closed and nothing is cut."""
        pipes = (self.near.incoming, self.far.incoming)
        return not any(one.broken or one.finished or one.refused for one in pipes)

    def cut(self, keep: Callable[[int], int]) -> None:
        """Break both directions; of the bytes that are on their way only the first `keep(count)` arrive."""
        for pipe in (self.near.incoming, self.far.incoming):
            whole = b"".join(data for _, data in pipe.chunks)
            left = whole[: keep(len(whole))]
            pipe.chunks.clear()
            if left:
                pipe.chunks.append((trio.current_time(), left))
            pipe.size = len(left)
            pipe.broken = True
            pipe.wake()

    def stall(self, seconds: float) -> None:
        """Let nothing arrive at either end for so long."""
        for pipe in (self.near.incoming, self.far.incoming):
            pipe.stalled_until = max(pipe.stalled_until, trio.current_time() + seconds)

    def vanish(self) -> None:
        """Let the near end be gone without a word: the far one writes on into nothing, and hears nothing."""
        self.near.incoming.deaf = self.far.incoming.deaf = True
        self.near.incoming.broken = True
        self.near.incoming.wake()
