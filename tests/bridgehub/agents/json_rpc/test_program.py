"""How the output of Codex is read."""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from typing import cast

import attrs
import trio
from trio.testing import MockClock

from bridgehub.agents.base import JOIN_S
from bridgehub.agents.json_rpc.frames import Frames
from bridgehub.agents.json_rpc.messages import encode
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.json_rpc.wires import MAX_MESSAGE_BYTES, PIPE_BYTES, Pipes, SocketWire
from tests.support.pipes import ended_pipe, pipe, waits_for_data_alone


def piece(text: str) -> bytes:
    return encode({"method": "item/agentMessage/delta", "params": {"itemId": "i", "delta": text}}) + b"\n"


OTHER = encode({"method": "turn/started", "params": {}}) + b"\n"


@attrs.define(eq=False)
class Pipe:
    """Gives chunks and then its end, and notes when it was asked for each."""

    chunks: deque[bytes]
    source: int
    asked_at: list[float] = attrs.field(factory=list)

    def fileno(self) -> int:
        return self.source

    async def receive_some(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        return self.chunks.popleft() if self.chunks else b""


@attrs.define(eq=False)
class Process:
    stdout: Pipe | trio.lowlevel.FdStream


async def waits_between_reads(*chunks: bytes) -> list[float]:
    with ended_pipe() as source:
        pipe = Pipe(deque(chunks), source)
        process = cast("trio.Process", Process(pipe))
        program = Program(Pipes(process), process, "run")
        began = trio.current_time()
        await program._read()
    return [round(after - before, 6) for before, after in pairwise([began, *pipe.asked_at])]


async def test_a_read_behind_a_piece_waits_for_its_neighbours(autojump_clock: MockClock) -> None:
    assert await waits_between_reads(OTHER, piece("a"), piece("b") + OTHER) == [0, 0, JOIN_S, 0]


async def test_a_read_that_was_full_is_not_followed_by_a_wait(autojump_clock: MockClock) -> None:
    full = piece("x" * PIPE_BYTES)
    assert await waits_between_reads(full, OTHER) == [0, 0, 0]


async def test_a_wire_that_was_closed_behind_a_piece_is_at_its_end(autojump_clock: MockClock) -> None:
    ours, theirs = trio.socket.socketpair()
    wire = SocketWire(trio.SocketStream(ours), Frames(MAX_MESSAGE_BYTES))
    await wire.aclose()
    assert await wire.receive(trio.current_time() + JOIN_S) is None
    theirs.close()


async def test_nothing_wakes_between_two_pieces(mock_clock: MockClock) -> None:
    ripe_at = -math.inf

    async def read() -> None:
        nonlocal ripe_at
        got = await wire.receive(ripe_at)
        assert got is not None
        assert [*got[0]]
        ripe_at = trio.current_time() + JOIN_S

    with pipe() as (source, sink):
        async with trio.lowlevel.FdStream(source) as stream:
            wire = Pipes(cast("trio.Process", Process(stream)))
            await waits_for_data_alone(read, sink, piece("a"), mock_clock)
