"""Many sessions at once on few cores, against the barest chain with as many processes, in alternated runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import cattrs
import orjson
import psutil
import trio

from bench.chains import BareChain, Server, open_bare_chain, open_server
from bench.devices import now_us
from bench.errors import BenchError
from bench.figures import ratios, spread
from bench.many.devices import CrowdJob, CrowdSeen
from bench.plan import Plan
from bench.processes import Child, open_child, spent_s
from bench.report import Row, Target

__all__ = ["Run", "measure_many", "rows_of"]

MAX_DELAY_RATIO = 3.0

_LEAD_S = 1.0
"""From the go to the window: all turns have begun."""

_TAIL_S = 0.5
"""Pieces after the window, so that none of it meets a turn's end."""

_GRACE_S = 60.0
_US_PER_MS = 1000.0
_US_PER_S = 1e6


@attrs.frozen
class Run:
    """One run: what the devices saw, and microseconds of processor time a piece, of the agents' side and of the server."""

    seen: CrowdSeen
    agents_us: float
    server_us: float


@attrs.define(eq=False)
class _Crowd:
    plan: Plan
    folder: Path
    devices: Child
    sessions: int

    async def warm_up(self, server: Server) -> None:
        """Have all hubs started: that takes seconds, and nothing of it counts."""
        await self._ready(CrowdJob(server.port, self.sessions, _TAIL_S, server.key))
        await self.devices.say(b"go")
        await self.devices.line(_GRACE_S)
        await self.devices.say(f"0 {now_us()}".encode())
        await self.devices.line(_GRACE_S)

    async def run_bare(self, chain: BareChain) -> Run:
        job = CrowdJob(chain.port, self.sessions, self._seconds())
        await self._ready(job)
        words = ["-m", "bench.many.producers", str(chain.socket), str(job.sessions), str(job.seconds)]
        async with open_child("the producers", words, self.folder) as producers:
            await producers.say(b"go")
            run = await self._run(chain.pid, lambda: _children(producers.pid))
            await producers.succeed(_GRACE_S)
        return run

    async def run_ours(self, server: Server) -> Run:
        await self._ready(CrowdJob(server.port, self.sessions, self._seconds(), server.key))
        return await self._run(server.pid, server.hubs)

    def _seconds(self) -> float:
        return _LEAD_S + self.plan.crowd_s + _TAIL_S

    async def _ready(self, job: CrowdJob) -> None:
        await self.devices.say(orjson.dumps(attrs.asdict(job)))
        await self.devices.line(_GRACE_S)

    async def _run(self, server: int, agents: Callable[[], Sequence[int]]) -> Run:
        await self.devices.say(b"go")
        await trio.sleep(_LEAD_S)
        pids = agents()
        if len(pids) != self.sessions:
            raise BenchError(f"{self.sessions} sessions have {len(pids)} processes for their agents")
        first_us, before = now_us(), (_spent_us([server]), _spent_us(pids))
        await trio.sleep(self.plan.crowd_s)
        last_us, after = now_us(), (_spent_us([server]), _spent_us(pids))
        await self.devices.line(_GRACE_S)
        await self.devices.say(f"{first_us} {last_us}".encode())
        seen = cattrs.structure(orjson.loads(await self.devices.line(_GRACE_S)), CrowdSeen)
        server_us, agents_us = ((now - then) / seen.pieces for now, then in zip(after, before, strict=True))
        return Run(seen, agents_us, server_us)


async def measure_many(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of many sessions: delay, and what a piece costs.

    Raises:
        BenchError: a yardstick or the server is missing, or a run broke.
    """
    rows = []
    for density in plan.crowd_densities:
        sessions = density * (os.cpu_count() or 1)
        place = folder / f"many-{density}"
        place.mkdir()
        async with AsyncExitStack() as stack:
            chain = await stack.enter_async_context(open_bare_chain(place))
            server = await stack.enter_async_context(open_server(place / "data", place))
            devices = await stack.enter_async_context(
                open_child("devices", ["-m", "bench.many.devices"], place)
            )
            crowd = _Crowd(plan, place, devices, sessions)
            say(f"{density} sessions a core, warming up")
            await crowd.warm_up(server)
            pairs = []
            for number in range(plan.crowd_pairs):
                say(f"{density} sessions a core, pair {number + 1} of {plan.crowd_pairs}")
                pairs.append((await crowd.run_bare(chain), await crowd.run_ours(server)))
        rows += rows_of(density, pairs, is_held=density == plan.crowd_densities[0])
    return rows


def rows_of(density: int, pairs: Sequence[tuple[Run, Run]], *, is_held: bool) -> list[Row]:
    """Return the rows of one density. `is_held`: whether its delay has a target.

    Raises:
        BenchError: there are no pairs.
    """
    name = f"{density} sessions a core"
    limit = Target(MAX_DELAY_RATIO, at_most=True) if is_held else None
    return [
        _row(f"{name}: delay p50", "ms", pairs, lambda run: run.seen.p50_us / _US_PER_MS),
        _row(f"{name}: delay p95", "ms", pairs, lambda run: run.seen.p95_us / _US_PER_MS, limit),
        _row(f"{name}: agent's side, a piece", "us", pairs, lambda run: run.agents_us),
        _row(f"{name}: server, a piece", "us", pairs, lambda run: run.server_us),
        _row(f"{name}: frames a piece", "", pairs, lambda run: run.seen.frames),
    ]


def _row(
    name: str,
    unit: str,
    pairs: Sequence[tuple[Run, Run]],
    figure: Callable[[Run], float],
    target: Target | None = None,
) -> Row:
    bare, ours = [figure(one) for one, _ in pairs], [figure(one) for _, one in pairs]
    return Row(name, unit, spread(ours), spread(bare), ratios(ours, bare), target)


def _children(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error as error:
        raise BenchError("the producers are gone") from error


def _spent_us(pids: Sequence[int]) -> float:
    return sum(map(spent_s, pids)) * _US_PER_S
