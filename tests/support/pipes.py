"""Pipes that stand in for a program's output."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bridgehub.agents.base import JOIN_S

__all__ = ["ended_pipe", "pipe", "waits_for_data_alone"]


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Give both ends of a pipe, the reading one first. The block must close that one."""
    source, sink = os.pipe()
    try:
        yield source, sink
    finally:
        os.close(sink)


@contextmanager
def ended_pipe() -> Iterator[int]:
    """Give the reading end of a pipe that can be read at any time: it is at its end."""
    source, sink = os.pipe()
    os.close(sink)
    try:
        yield source
    finally:
        os.close(source)


async def waits_for_data_alone(
    read: Callable[[], Awaitable[object]], sink: int, piece: bytes, clock: MockClock
) -> None:
    """Check that behind a piece a reader waits for more data and for no moment, but that close neighbours gather.

    Args:
        read: reads what the program writes.
        sink: the writing end of the pipe that is read.
        piece: the bytes of one piece.
        clock: stands still.
    """
    os.write(sink, piece)
    await read()
    read_at = []

    async def read_next() -> None:
        await read()
        read_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for pause_s in (JOIN_S / 4, 20 * JOIN_S):
            began = trio.current_time()
            nursery.start_soon(read_next)
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
            clock.jump(pause_s)
            os.write(sink, piece)
            await wait_all_tasks_blocked()
            clock.jump(JOIN_S - pause_s if pause_s < JOIN_S else 0)
            await wait_all_tasks_blocked()
            assert read_at.pop() == began + max(pause_s, JOIN_S)
