"""How long devices hear nothing when the database fails and its synchronous standby is promoted."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio
from trio_websocket import WebSocketConnection

from bench.chains import Server
from bench.devices import join_session, now_us, open_device, read_text, send
from bench.errors import BenchError
from bench.figures import spread
from bench.frames import parse_frame
from bench.nodes.clusters import Postgres, open_pair
from bench.plan import Plan
from bench.report import Row, Target

__all__ = ["measure_failover"]

MAX_SILENCE_S = 1.5

_SESSION = "bench-failover"
_PIECES = 3_000
_PAUSE_MS = 10
_US_PER_S = 1e6


@attrs.frozen
class _Silence:
    """Seconds from the end of the primary until the standby takes writes, and until each device has a later piece."""

    promoted_s: float
    home_s: float
    other_s: float


async def measure_failover(
    plan: Plan, folder: Path, postgres: Postgres, say: Callable[[str], None]
) -> list[Row]:
    """Return the rows of the silence. Raises BenchError where a device did not hear again."""
    runs = []
    for number in range(plan.failovers):
        say(f"fail-over {number + 1} of {plan.failovers}")
        place = folder / f"failover-{number}"
        place.mkdir()
        with trio.fail_after(plan.run_limit_s):
            runs.append(await _fail_over(place, postgres))
    limit = Target(MAX_SILENCE_S, at_most=True, of="measured")
    rows = [
        Row("fail-over: home silent after the promotion", "s", spread([_after(r, r.home_s) for r in runs])),
        Row("fail-over: other node silent after it", "s", spread([_after(r, r.other_s) for r in runs])),
    ]
    whole = spread([run.promoted_s for run in runs])
    return [
        *(attrs.evolve(row, target=limit) for row in rows),
        Row("fail-over: from the end of the primary to the promotion", "s", whole),
    ]


def _after(run: _Silence, heard_s: float) -> float:
    return max(0.0, heard_s - run.promoted_s)


async def _fail_over(folder: Path, postgres: Postgres) -> _Silence:
    async with AsyncExitStack() as stack:
        both = stack.enter_context(postgres.with_standby())
        nodes = await stack.enter_async_context(open_pair(both.url, folder))
        heard: dict[str, int] = {}
        devices = [await _device(stack, node, label) for label, node in nodes.items()]
        await send(devices[0], _SESSION, f"/clock {_PIECES} {_PAUSE_MS}")
        ended_us = 0
        async with trio.open_nursery() as nursery:
            begun = [trio.Event() for _ in devices]
            watching = zip(nodes, devices, begun, strict=True)
            for label, device, event in watching:
                nursery.start_soon(_listen, device, label, event, lambda: ended_us, heard)
            for event in begun:
                await event.wait()
            ended_us = now_us()
            await trio.to_thread.run_sync(both.primary.stop, signal.SIGQUIT)
            await trio.to_thread.run_sync(both.promote)
            promoted_us = now_us()
        return _Silence(
            promoted_s=(promoted_us - ended_us) / _US_PER_S,
            home_s=(heard["home"] - ended_us) / _US_PER_S,
            other_s=(heard["other"] - ended_us) / _US_PER_S,
        )


async def _device(stack: AsyncExitStack, node: Server, label: str) -> WebSocketConnection:
    device = await stack.enter_async_context(open_device(node.url))
    await join_session(device, node.key, _SESSION, label)
    return device


async def _listen(
    device: WebSocketConnection,
    label: str,
    begun: trio.Event,
    ended_us: Callable[[], int],
    heard: dict[str, int],
) -> None:
    """Note when a device has a piece that left its agent after the primary's end: only the standby can have it."""
    while True:
        frame = parse_frame(await read_text(device))
        at_us = now_us()
        if frame["type"] in {"complete", "interrupted"}:
            raise BenchError("the turn was over before the standby was promoted")
        words = _clock_words(frame)
        if words:
            begun.set()
        if ended_us() and any(word > ended_us() for word in words):
            heard[label] = at_us
            return


def _clock_words(frame: Mapping[str, object]) -> list[int]:
    content = frame["content"] if frame["type"] == "message" else ""
    return [int(word) for word in str(content).split() if word.isdecimal()]
