"""`python -m bench profile`: where the server's time goes while it is flat out."""

from __future__ import annotations

import pstats
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import psutil
import trio

from bench.chains import Server, open_server
from bench.path import Bench
from bench.plan import Plan
from bench.processes import open_child

__all__ = ["profile"]

_TOP = 40
"""Functions that are printed."""

_PROFILED = """
import cProfile, sys
from builderos.cli import main
profiler = cProfile.Profile()
try:
    status = profiler.runcall(main)
finally:
    profiler.dump_stats({path!r})
sys.exit(status)
"""

_SAMPLED = """
import sys
from bench.profile.sampler import sample
from builderos.cli import main
with sample({path!r}):
    status = main()
sys.exit(status)
"""


async def profile(plan: Plan, folder: Path, kind: str, say: Callable[[str], None]) -> str:
    """Return what one throughput run cost: processor seconds by process, then the server's functions.

    `calls` counts every call of the event loop's thread, which makes calls dearer than they are; `samples` looks
    at all threads a thousand times a second, which leaves the proportions as they are.

    Raises:
        BenchError: the run broke.
    """
    result = folder / "profile.out"
    program = (_PROFILED if kind == "calls" else _SAMPLED).format(path=str(result))
    plain = await _run(plan, folder / "plain", None, say)
    watched = await _run(plan, folder / "watched", ("-c", program), say)
    functions = _functions(result) if kind == "calls" else result.read_text()
    return f"unwatched: {plain}\nwatched:   {watched}\n\n{functions}"


async def _run(plan: Plan, folder: Path, words: tuple[str, ...] | None, say: Callable[[str], None]) -> str:
    await trio.Path(folder).mkdir()
    opened = (
        open_server(folder / "data", folder) if words is None else open_server(folder / "data", folder, words)
    )
    async with opened as server, open_child("devices", ["-m", "bench.devices"], folder) as devices:
        bench = Bench(plan, folder, devices)
        say("warming up")
        await bench.run_ours(server, "words")
        before = _seconds(server)
        say("running")
        seen = [await bench.run_ours(server, "words") for _ in range(plan.pairs)]
        after = _seconds(server)
    pieces = plan.words * plan.pairs
    spent = ", ".join(f"{name} {(after[name] - before[name]) / pieces * 1e6:.1f} us" for name in after)
    rates = ", ".join(f"{one.rate:,.0f}" for one in seen)
    return f"processor time a piece: {spent}; pieces/s: {rates}; frames: {seen[-1].frames}"


def _seconds(server: Server) -> dict[str, float]:
    """Return the processor seconds of the server and of its hubs so far."""
    return {"server": _spent(server.pid), "hub": sum(_spent(pid) for pid in server.hubs())}


def _spent(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _functions(path: Path) -> str:
    out = StringIO()
    statistics = pstats.Stats(str(path), stream=out)
    statistics.strip_dirs().sort_stats("tottime").print_stats(_TOP)
    return out.getvalue()
