"""A long answer in the full-screen client, against the plain one."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from bench.chains import SERVER_WORDS, Server, open_server
from bench.devices import join_session, now_us, open_device, send
from bench.figures import ratios, spread
from bench.plan import Plan
from bench.processes import spent_s
from bench.report import Row, Target
from bench.terminal.window import Size, Window, open_pipe, open_window

__all__ = ["MAX_CORES", "MAX_RATIO", "SIZES", "attach_words", "measure_words"]

SIZES: tuple[Size, ...] = ((80, 24), (200, 60))

MAX_RATIO = 1.2
MAX_CORES = 1.0

QUIET_S = 0.3
"""A client that has written nothing for so long has drawn everything."""

_US_PER_MS = 1000.0
_US_PER_S = 1e6
_GREETING = re.compile(rb"echo: hello")


@attrs.frozen
class Streamed:
    """One run. `cores`: processor time of the client over the time until the last word was on its output."""

    last_ms: float
    cores: float


async def measure_words(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of the long answer. Raises BenchError where a client or the server broke."""
    rows: list[Row] = []
    async with open_server(folder / "words-data", folder) as server:
        for size in SIZES:
            plain: list[Streamed] = []
            full: list[Streamed] = []
            for number in range(plan.pairs + 1):
                say(f"{plan.words:,} words in a terminal of {_told(size)}, pair {number} of {plan.pairs}")
                for is_full in (True, False) if number % 2 else (False, True):
                    run = await _run(server, plan, folder, size if is_full else None)
                    (full if is_full else plain).append(run)
            rows += _rows(plan, size, plain[1:], full[1:])
    return rows


def _rows(plan: Plan, size: Size, plain: list[Streamed], full: list[Streamed]) -> list[Row]:
    ours, theirs = [run.last_ms for run in full], [run.last_ms for run in plain]
    title = f"terminal, {_told(size)}: last of {plan.words:,} words"
    return [
        Row(
            f"{title}, against the plain client",
            "ms",
            spread(ours),
            spread(theirs),
            ratios(ours, theirs),
            Target(MAX_RATIO, at_most=True),
        ),
        Row(
            f"{title}: the client",
            "cores",
            spread([run.cores for run in full]),
            spread([run.cores for run in plain]),
            target=Target(MAX_CORES, at_most=True, of="measured"),
        ),
    ]


async def _run(server: Server, plan: Plan, folder: Path, size: Size | None) -> Streamed:
    session_id = uuid.uuid4().hex
    async with _sender(server, session_id) as device:
        words = attach_words(folder / "words-data", session_id)
        client = (
            open_pipe("the plain client", [*words, "--plain"], folder)
            if size is None
            else open_window("the full-screen client", words, folder, size)
        )
        async with client as window:
            return await _stream(window, device, session_id, plan)


async def _stream(window: Window, device: WebSocketConnection, session_id: str, plan: Plan) -> Streamed:
    limit_s = plan.run_limit_s
    await window.find(re.compile(re.escape(session_id[:8].encode())), 0, limit_s)  # it is attached
    await send(device, session_id, "hello")  # the agent starts, and what is loaded with the first answer is
    await window.find(_GREETING, 0, limit_s)
    await window.rest(QUIET_S, limit_s)
    start, spent, go_us = len(window.raw), spent_s(window.pid), now_us()
    await send(device, session_id, f"/words {plan.words}")
    _, at_us = await window.find(re.compile(rb"w%d\b" % (plan.words - 1)), start, limit_s)
    spent = spent_s(window.pid) - spent
    await window.rest(QUIET_S, limit_s)
    return Streamed((at_us - go_us) / _US_PER_MS, spent / ((at_us - go_us) / _US_PER_S))


@asynccontextmanager
async def _sender(server: Server, session_id: str) -> AsyncIterator[WebSocketConnection]:
    """Make a session, and yield a device that sends; what it gets is dropped unread."""

    async def drop() -> None:
        try:
            while True:
                await device.get_message()
        except ConnectionClosed:
            return

    async with open_device(server.url) as device, trio.open_nursery() as nursery:
        await join_session(device, server.key, session_id, "bench")
        nursery.start_soon(drop)
        yield device
        nursery.cancel_scope.cancel(reason="the measurement is done")


def attach_words(data: Path, session_id: str) -> list[str]:
    """Return how Python runs `builderos attach` on a session of the server of a data folder."""
    return [*SERVER_WORDS, "attach", session_id, "--data", str(data)]


def _told(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
