"""How the output of Codex is read."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import cast

import attrs
import trio
from trio.testing import MockClock

from bridgehub.agents.base import JOIN_S
from bridgehub.agents.json_rpc.messages import encode
from bridgehub.agents.json_rpc.program import Program
from bridgehub.agents.json_rpc.wires import PIPE_BYTES, Pipes


def piece(text: str) -> bytes:
    return encode({"method": "item/agentMessage/delta", "params": {"itemId": "i", "delta": text}}) + b"\n"


OTHER = encode({"method": "turn/started", "params": {}}) + b"\n"


@attrs.define(eq=False)
class Pipe:
    """Gives chunks and then its end, and notes when it was asked for each."""

    chunks: deque[bytes]
    asked_at: list[float] = attrs.field(factory=list)

    async def receive_some(self, max_bytes: int) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked_at.append(trio.current_time())
        return self.chunks.popleft() if self.chunks else b""


@attrs.define(eq=False)
class Process:
    stdout: Pipe


async def waits_between_reads(*chunks: bytes) -> list[float]:
    pipe = Pipe(deque(chunks))
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
