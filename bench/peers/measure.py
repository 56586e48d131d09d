"""Takes each figure of one server, and never lets one that breaks hide the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from statistics import median

import attrs
import httpx
import orjson
import trio

from bench.devices import now_us
from bench.errors import BenchError, one_line
from bench.peers.heard import Heard, delays_of, missing_of, parse
from bench.peers.servers import LIMIT_S, PeerServer

__all__ = ["Results", "Sizes", "measure"]

Results = dict[str, str]

SETTLE_S = 2.0
"""After this a server that has started, or a turn that has ended, has done what it does behind it."""

AWAY_S = 0.5


@attrs.frozen
class Sizes:
    """How much is asked for. `pace_ms` lies between two of the `paced` words."""

    paced: int = 300
    pace_ms: int = 20
    cut_after: int = 100
    words: int = 20_000
    warm_turns: int = 3


@attrs.define(eq=False)
class _Turn:
    """What a device has seen of one turn."""

    updates: list[tuple[int, str]] = attrs.field(factory=list)
    bytes: int = 0
    place: str | None = None
    question: str = ""
    changed: trio.Event = attrs.field(factory=trio.Event)
    ended: bool = False

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.updates)

    @property
    def words(self) -> int:
        return len(self.text.split())

    def take(self, at_us: int, heard: Heard) -> None:
        if heard.text:
            self.updates.append((at_us, heard.text))
        self.question = self.question or heard.question
        self.ended = self.ended or heard.ended
        self.changed.set()
        self.changed = trio.Event()

    async def until(self, holds: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        with trio.move_on_after(limit_s):  # noqa: ASYNC912 - waits, or has it
            while not holds():
                await self.changed.wait()
            return
        raise BenchError(f"nothing more came within {limit_s:.0f} s, after {self.words} words")


@attrs.define(eq=False)
class _Run:
    name: str
    server: PeerServer
    log: Path
    sizes: Sizes
    session: str = ""

    async def follow(
        self,
        turn: _Turn,
        after: str | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Follow the session into `turn` until cancelled."""
        started = False
        async with aclosing(self.server.watch(self.session, after)) as lines:  # type: ignore[type-var]
            async for line, size in lines:
                at_us = now_us()
                if not started:
                    started = True
                    task_status.started()
                    continue
                turn.bytes += size
                turn.place = self.server.place(line) or turn.place
                for heard in parse(self.name, line):
                    turn.take(at_us, heard)

    async def turn(self, text: str, limit_s: float = LIMIT_S) -> tuple[_Turn, int]:
        """Do a turn to its end; return it and when the message was given."""
        seen = _Turn()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.follow, seen)
            began = now_us()
            await self.server.send(self.session, text, self.server.new_id())
            await seen.until(lambda: seen.ended, limit_s)
            nursery.cancel_scope.cancel(reason="the turn is over")
        return seen, began

    async def fresh(self) -> float:
        """Do the first turn of a new session; return the time from its making to the first text, ms."""
        began = now_us()
        self.session = await self.server.session()
        seen, _ = await self.turn("words 5")
        return (seen.updates[0][0] - began) / 1000

    def entries(self, key: str) -> list[object]:
        """Return what the model service has noted."""
        lines = [orjson.loads(line) for line in self.log.read_bytes().splitlines()]
        return [line[key] for line in lines if key in line]


async def measure(
    name: str, server: PeerServer, log: Path, sizes: Sizes, say: Callable[[str], None]
) -> Results:
    """Return what could be measured of a server that runs; a figure that broke says why."""
    run, results = _Run(name, server, log, sizes), Results()
    steps: list[tuple[tuple[str, ...], Callable[[_Run, Results], Awaitable[None]]]] = [
        (("idle", "cold", "session"), _sessions),
        (("warm",), _warm),
        (("updates", "p50", "p99"), _delays),
        (("last", "bytes"), _long),
        (("cut", "cut_read"), _cut),
        (("thrice",), _thrice),
        (("decisions",), _decisions),
        (("kill",), _kill),
    ]
    for keys, step in steps:
        say(f"{name}: {', '.join(keys)}")
        try:
            with trio.fail_after(4 * LIMIT_S):
                await step(run, results)
        except (BenchError, httpx.HTTPError, BaseExceptionGroup, trio.TooSlowError, OSError) as error:
            results |= {key: f"— ({one_line(error)[:120]})" for key in keys if key not in results}
    return results


async def _sessions(run: _Run, results: Results) -> None:
    await trio.sleep(SETTLE_S)
    results["idle"] = "none" if run.name == "bare" else f"{run.server.memory_mb():.0f} MB"
    first = await run.fresh()
    await trio.sleep(SETTLE_S)
    before = 0.0 if run.name == "bare" else run.server.memory_mb()
    if run.name == "bare":
        results["session"] = f"{run.server.memory_mb():.0f} MB"
        results["cold"] = f"{first:,.0f} ms"
        return
    second = await run.fresh()
    await trio.sleep(SETTLE_S)
    results["session"] = f"{run.server.memory_mb() - before:.0f} MB"
    results["cold"] = f"{second:,.0f} ms (the server's very first: {first:,.0f} ms)"


async def _warm(run: _Run, results: Results) -> None:
    found = []
    for _ in range(run.sizes.warm_turns):
        seen, began = await run.turn("words 5")
        found.append((seen.updates[0][0] - began) / 1000)
    results["warm"] = f"{median(found):,.0f} ms"


async def _delays(run: _Run, results: Results) -> None:
    seen, _ = await run.turn(f"pace {run.sizes.paced} {run.sizes.pace_ms}")
    stamps = run.entries("stamps")[-1]
    assert isinstance(stamps, list)
    found = delays_of(seen.updates, stamps)
    results["updates"] = str(found.updates)
    results["p50"], results["p99"] = f"{found.p50_ms:,.1f} ms", f"{found.p99_ms:,.1f} ms"


async def _long(run: _Run, results: Results) -> None:
    seen, began = await run.turn(f"words {run.sizes.words}", 2 * LIMIT_S)
    results["last"] = f"{(seen.updates[-1][0] - began) / 1e6:.2f} s"
    if missing := missing_of(seen.text, run.sizes.words):
        read = missing_of(await run.server.history(run.session), run.sizes.words)
        results["last"] += f", {missing:,} missing ({read:,} in the history)"
    results["bytes"] = f"{seen.bytes:,}"


async def _cut(run: _Run, results: Results) -> None:
    if run.name == "bare":
        raise BenchError("no devices")
    seen, again = _Turn(), _Turn()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            await first.start(run.follow, seen)
            await run.server.send(
                run.session, f"pace {run.sizes.paced} {run.sizes.pace_ms}", run.server.new_id()
            )
            await _cut_point(run, seen)
            first.cancel_scope.cancel(reason="the connection is cut")
        await trio.sleep(AWAY_S)
        await nursery.start(run.follow, again, seen.place)
        await again.until(lambda: again.ended)
        nursery.cancel_scope.cancel(reason="the turn is over")
    results["cut"] = str(missing_of(seen.text + " " + again.text, run.sizes.paced))
    await trio.sleep(SETTLE_S)
    results["cut_read"] = str(missing_of(await run.server.history(run.session), run.sizes.paced))


async def _cut_point(run: _Run, seen: _Turn) -> None:
    """Wait for so many words, or for as long as the model needs for them if the server shows none."""
    with trio.move_on_after(3 + run.sizes.cut_after * run.sizes.pace_ms / 1000):
        await seen.until(lambda: seen.words >= run.sizes.cut_after)


async def _kill(run: _Run, results: Results) -> None:
    if run.name == "bare":
        raise BenchError("no server")
    seen = _Turn()
    async with trio.open_nursery() as nursery:
        await nursery.start(run.follow, seen)
        await run.server.send(run.session, f"pace {run.sizes.paced} {run.sizes.pace_ms}", run.server.new_id())
        await _cut_point(run, seen)
        nursery.cancel_scope.cancel(reason="the server is killed")
    await run.server.kill9()
    await run.server.restart()
    # What is left of the answer, and time to hand it over.
    await trio.sleep(run.sizes.paced * run.sizes.pace_ms / 1000 + 5 * SETTLE_S)
    results["kill"] = str(missing_of(await run.server.history(run.session), run.sizes.paced))


async def _decisions(run: _Run, results: Results) -> None:
    if run.name == "bare":
        raise BenchError("no devices")
    file = run.server.workspace / "decided.txt"
    seen, told = _Turn(), {}
    async with trio.open_nursery() as nursery:
        await nursery.start(run.follow, seen)
        await run.server.send(run.session, "bash echo yes > decided.txt", run.server.new_id())
        await seen.until(lambda: bool(seen.question))

        async def decide(allow: bool) -> None:
            told[allow] = await run.server.decide(run.session, seen.question, allow=allow)

        async with trio.open_nursery() as both:
            both.start_soon(decide, True)
            both.start_soon(decide, False)
        with trio.move_on_after(LIMIT_S / 4):
            await seen.until(lambda: seen.ended)
        nursery.cancel_scope.cancel(reason="it is decided")
    ran = "it ran" if file.exists() else "it did not run"
    results["decisions"] = f"allow: {told[True]}; deny: {told[False]}; {ran}"


async def _thrice(run: _Run, results: Results) -> None:
    if run.name == "bare":
        raise BenchError("no devices")
    before, message_id = run.entries("asked").count("words 7"), run.server.new_id()
    seen, answers = _Turn(), []
    async with trio.open_nursery() as nursery:
        await nursery.start(run.follow, seen)
        for _ in range(3):
            try:
                await run.server.send(run.session, "words 7", message_id)
                answers.append("accepted")
            except BenchError as error:
                answers.append(one_line(error)[:60])
        await seen.until(lambda: seen.ended)
        await trio.sleep(2 * SETTLE_S)
        nursery.cancel_scope.cancel(reason="all is seen")
    turns = run.entries("asked").count("words 7") - before
    copies = run.entries("copies")[-1]
    often = "once" if copies == 1 else f"{copies} times"
    results["thrice"] = f"{turns} with the text {often} ({answers.count('accepted')} of 3 accepted)"
