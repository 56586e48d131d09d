"""Strangers do their worst with every kind of frame: the event loop stays free, and a new device still gets in.

**How it is measured.** The server runs in this process and the 300 strangers in one of their own, which ends with this
one's input. Whatever one turn of the event loop does, a device's piece may have to wait for: so the longest turn is
what counts, in processor time of the loop's own thread. Other load on the machine does not lengthen that. The same
clock shows how long a new device takes: what the loop did until the device was in.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psutil
import pytest
import trio

from tests.security.attacker import EVERY_KIND
from tests.support.server import ROOT
from tests.transport.client import LIMIT_S, Served, open_server

LATE_S: Final = 0.25
NEW_DEVICE_S: Final = 2.0
GROWTH: Final = 150 << 20
"""Bytes that the process may have more of; 300 messages of a mebibyte alone would be twice that."""


class LongestTurn(trio.abc.Instrument):
    """Notes how much processor time the event loop took at most between two looks at its sockets."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.turns = 0
        self._start = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:
        self._start = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        self.longest_s = max(self.longest_s, time.thread_time() - self._start)
        self.turns += 1


def leave_old_garbage_out() -> None:
    """Leave out what the tests before this one left: a collection of all of it takes a third of a second."""
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def strangers(port: int) -> AsyncIterator[None]:
    """Have all of them attack for the length of the block."""
    command = [sys.executable, "-m", "tests.security.attacker", "every kind of frame", str(port), "no key"]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = b""
    try:
        with trio.fail_after(LIMIT_S):
            while b"attacking\n" not in said:
                more = await process.stdout.receive_some()
                assert more, "the attacker failed"
                said += more
        yield
        await process.stdin.aclose()
        with trio.fail_after(LIMIT_S):
            while more := await process.stdout.receive_some():
                said += more
            assert await process.wait() == 0
        for name in EVERY_KIND:
            assert f'"{name}"'.encode() in said, "else it was no attack"
    finally:
        process.kill()
        await process.stdin.aclose()
        await process.stdout.aclose()


async def sign_in(served: Served, *, in_head: bool) -> float:
    """Return how much the event loop worked until a new device got its first answer, in seconds."""
    start = time.thread_time()
    async with served.client("key-of-phone" if in_head else None) as device:
        if not in_head:
            await device.send(type="auth", token="key-of-phone")
            await device.receive("ready")
        await device.send(type="ping")
        await device.receive("pong")
        return time.thread_time() - start


async def test_no_turn_of_the_loop_is_long_and_a_new_device_gets_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    turns = LongestTurn()
    memory = psutil.Process().memory_info
    async with open_server() as served, served.client() as device:
        trio.lowlevel.add_instrument(turns)
        before = memory().rss
        leave_old_garbage_out()
        async with strangers(served.listening.port):
            assert await sign_in(served, in_head=True) <= NEW_DEVICE_S
            assert await sign_in(served, in_head=False) <= NEW_DEVICE_S
            for _ in range(200):
                await device.send(type="ping")
                await device.receive("pong")
            grown = memory().rss - before
            statistics = served.listening.statistics()
        trio.lowlevel.remove_instrument(turns)
    assert turns.turns > 100
    assert turns.longest_s <= LATE_S
    assert grown < GROWTH
    assert statistics.waiting <= 256
    assert statistics.unfinished <= 256
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
