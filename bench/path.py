"""The whole path against the bare chain: latency and throughput of a piece, in alternated pairs of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import cattrs
import orjson

from bench.chains import BareChain, Server, open_bare_chain, open_server
from bench.devices import Job, Seen
from bench.figures import ratios, spread
from bench.frames import Kind
from bench.plan import Plan
from bench.processes import Child, open_child
from bench.report import Row, Target

__all__ = ["Bench", "measure_path"]

MAX_LATENCY_RATIO = 1.6
MIN_THROUGHPUT_RATIO = 1.5

_GRACE_S = 10.0
"""The orchestrator waits this much longer than a run may take: the devices' own word is the better one."""

_US_PER_MS = 1000.0


@attrs.define(eq=False)
class Bench:
    """The measuring devices and what they are pointed at."""

    plan: Plan
    folder: Path
    devices: Child

    async def run_bare(self, chain: BareChain, kind: Kind) -> Seen:
        """One run over a yardstick, with a producer of its own. Raises BenchError where it broke."""
        job = Job(chain.port, kind, self._expected(kind), self.plan.run_limit_s)
        await self._ready(job)
        words = ["-m", "bench.producer", str(chain.socket), kind, str(job.expected)]
        if kind == "clock":
            words.append(str(self.plan.clock_pause_ms))
        async with open_child("the producer", words, self.folder) as producer:
            await self.devices.say(b"go")
            seen = await self._seen(job)
            await producer.succeed(_GRACE_S)
        return seen

    async def run_ours(self, server: Server, kind: Kind) -> Seen:
        """One run over our server, each kind in a session of its own. Raises BenchError where it broke."""
        expected = self._expected(kind)
        message = f"/{kind} {expected}"
        if kind == "clock":
            message += f" {self.plan.clock_pause_ms:g}"
        job = Job(
            server.port, kind, expected, self.plan.run_limit_s, server.key, f"bench-{kind}", message=message
        )
        await self._ready(job)
        await self.devices.say(b"go")
        return await self._seen(job)

    def _expected(self, kind: Kind) -> int:
        return {
            "clock": self.plan.clock_pieces,
            "words": self.plan.words,
            "big": self.plan.big_characters,
        }[kind]

    async def _ready(self, job: Job) -> None:
        await self.devices.say(orjson.dumps(attrs.asdict(job)))
        await self.devices.line(job.limit_s + _GRACE_S)

    async def _seen(self, job: Job) -> Seen:
        return cattrs.structure(orjson.loads(await self.devices.line(job.limit_s + _GRACE_S)), Seen)


async def measure_path(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of latency, throughput and a large piece.

    Raises:
        BenchError: a yardstick or the server is missing, or a run broke.
    """
    async with AsyncExitStack() as stack:
        chains = []
        for name in ("bare", "joining"):
            (folder / name).mkdir()
            opened = open_bare_chain(folder / name, join=name == "joining")
            chains.append(await stack.enter_async_context(opened))
        server = await stack.enter_async_context(open_server(folder / "path-data", folder))
        devices = await stack.enter_async_context(open_child("devices", ["-m", "bench.devices"], folder))
        bench = Bench(plan, folder, devices)
        rows = await _latency(bench, chains[0], server, say)
        rows += await _throughput(bench, chains, server, say)
        rows.append(await _big(bench, server, say))
        return rows


async def _latency(bench: Bench, bare: BareChain, server: Server, say: Callable[[str], None]) -> list[Row]:
    say("latency, warming up")
    await bench.run_bare(bare, "clock")
    await bench.run_ours(server, "clock")
    counted = []
    for number in range(bench.plan.pairs):
        say(f"latency, pair {number + 1} of {bench.plan.pairs}")
        counted.append((await bench.run_bare(bare, "clock"), await bench.run_ours(server, "clock")))
    limit = Target(MAX_LATENCY_RATIO, at_most=True)
    rate = f"{1000 / bench.plan.clock_pause_ms:g}/s"
    return [
        _compared(f"latency p50 at {rate}", "ms", counted, lambda seen: seen.p50_us / _US_PER_MS, limit),
        _compared(f"latency p99 at {rate}", "ms", counted, lambda seen: seen.p99_us / _US_PER_MS),
    ]


async def _throughput(
    bench: Bench, chains: Sequence[BareChain], server: Server, say: Callable[[str], None]
) -> list[Row]:
    say("throughput, warming up")
    await bench.run_bare(chains[1], "words")
    await bench.run_ours(server, "words")
    counted = []
    for number in range(bench.plan.pairs):
        say(f"throughput, round {number + 1} of {bench.plan.pairs}")
        bare, joining = [await bench.run_bare(chain, "words") for chain in chains]
        counted.append((bare, joining, await bench.run_ours(server, "words")))
    limit = Target(MIN_THROUGHPUT_RATIO, at_most=False)
    first = [(bare, ours) for bare, _, ours in counted]
    second = [(joining, ours) for _, joining, ours in counted]
    return [
        _compared("throughput, a commit a piece", "/s", first, lambda seen: seen.rate, limit),
        _compared("throughput, a commit a read", "/s", second, lambda seen: seen.rate),
    ]


async def _big(bench: Bench, server: Server, say: Callable[[str], None]) -> Row:
    say("one large piece")
    await bench.run_ours(server, "big")
    runs = [await bench.run_ours(server, "big") for _ in range(bench.plan.pairs)]
    name = f"a piece of {bench.plan.big_characters:,} characters"
    return Row(name, "ms", spread([seen.whole_us / _US_PER_MS for seen in runs]))


def _compared(
    name: str,
    unit: str,
    pairs: Sequence[tuple[Seen, Seen]],
    figure: Callable[[Seen], float],
    target: Target | None = None,
) -> Row:
    bare = [figure(one) for one, _ in pairs]
    ours = [figure(one) for _, one in pairs]
    return Row(name, unit, spread(ours), spread(bare), ratios(ours, bare), target)
