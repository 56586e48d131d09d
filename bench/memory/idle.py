"""What memory costs: an idle server, a session that is attached and idle, and an echo hub."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from bench.chains import Server, open_bare_chain, open_server
from bench.devices import attach, join_session, open_device, read_run, send
from bench.errors import BenchError
from bench.figures import Spread, ratios, spread
from bench.plan import Plan
from bench.processes import proportional_kib, spent_s
from bench.report import Row, Target

__all__ = ["measure_hubs", "measure_memory"]

MAX_SERVER_MIB = 36.0
MAX_IDLE_KIB = {"a connection each": 34.0, "one connection": 25.0}
MAX_IDLE_RATIO = 1.6
"""A session with a connection of its own, against a connection of the barest chain."""

MAX_HUB_MIB = 15.0

WARM_SESSIONS = 8
"""Sessions attached before the first weighing: caches and threads that come once are not the cost of a session."""

_DESCRIPTORS_BESIDES = 200
_CONNECTING = 64
"""Connections opened at once; a server lets 256 wait for their sign-in."""

_TURN_S = 30.0
_LOOK_S = 0.3
_KIB = 1024.0


async def measure_memory(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of idle sessions. Raises BenchError where the server broke or cannot be looked at."""
    await trio.lowlevel.checkpoint()
    _allow_descriptors(plan.idle_sessions)
    rows = await _idle_server(folder)
    bare = await _bare_connection(plan, folder)
    layouts = (("a connection each", _attach_apart), ("one connection", _attach_together))
    for number, (name, attach_all) in enumerate(layouts):
        say(f"{plan.idle_sessions} idle sessions, {name}")
        async with (
            open_server(folder / f"idle-data-{number}", folder) as server,
            _attach_apart(server, "warm", WARM_SESSIONS),
        ):
            before = proportional_kib(server.pid)
            async with attach_all(server, "idle", plan.idle_sessions):
                after = proportional_kib(server.pid)
        each = spread([(after - before) / plan.idle_sessions])
        limit = Target(MAX_IDLE_KIB[name], at_most=True, of="measured")
        rows.append(Row(f"idle session, {name}: PSS", "KiB", each, target=limit))
        if number == 0:
            against = Target(MAX_IDLE_RATIO, at_most=True)
            ratio = ratios([each.median], [bare.median])
            rows.append(
                Row("idle session against the barest connection: PSS", "KiB", each, bare, ratio, against)
            )
    return rows


async def _idle_server(folder: Path) -> list[Row]:
    """Weigh a server that nobody has connected to yet, and again once it has answered over HTTP."""
    async with open_server(folder / "idle-data", folder) as server:
        await _settle(server.pid)
        weight = proportional_kib(server.pid) / _KIB
        with _bounded(_TURN_S, "an answer over HTTP"):
            await _ask_health(server.port)
        await _settle(server.pid)
        later = proportional_kib(server.pid) / _KIB
    limit = Target(MAX_SERVER_MIB, at_most=True, of="measured")
    return [
        Row("idle server: PSS", "MiB", spread([weight]), target=limit),
        Row("idle server that has answered over HTTP: PSS", "MiB", spread([later])),
    ]


async def _ask_health(port: int) -> None:
    """Ask over HTTP how the server is. Raises BenchError if the answer is not good."""
    answer = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async for part in stream:
            answer += part
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the server's answer over HTTP is {answer[:100]!r}")


async def _settle(pid: int) -> None:
    """Wait until a process that has just started does nothing any more."""
    used = -1.0
    with _bounded(_TURN_S, "starting"):
        while (now := spent_s(pid)) > used:
            used = now
            await trio.sleep(_LOOK_S)


async def _bare_connection(plan: Plan, folder: Path) -> Spread:
    """Weigh a connection of the barest chain, in KiB."""
    place = folder / "idle-bare"
    place.mkdir()
    async with open_bare_chain(place) as chain:
        url = f"ws://127.0.0.1:{chain.port}/"
        async with _connect_all(url, WARM_SESSIONS, _nothing):
            before = proportional_kib(chain.pid)
            async with _connect_all(url, plan.idle_sessions, _nothing):
                after = proportional_kib(chain.pid)
    return spread([(after - before) / plan.idle_sessions])


async def measure_hubs(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of echo hubs after a turn each. Raises BenchError where one is missing."""
    rows = []
    async with open_server(folder / "hub-data", folder) as server, open_device(server.url) as device:
        with _bounded(_TURN_S * plan.hubs, "the hubs' turns"):
            await join_session(device, server.key, "hub-0", "bench")
            for number in range(plan.hubs):
                say(f"hub {number + 1} of {plan.hubs}")
                if number > 0:
                    await attach(device, f"hub-{number}", "bench")
                await send(device, f"hub-{number}", "one short turn")
                await read_run(device)
                if number + 1 in {1, plan.hubs}:
                    rows.append(_hub_row(server, number + 1))
        fork_server = server.fork_server()
        if fork_server is not None:
            rows.append(
                Row("the hubs' fork server: PSS", "MiB", spread([proportional_kib(fork_server) / _KIB]))
            )
    return rows


def _hub_row(server: Server, count: int) -> Row:
    pids = server.hubs()
    if len(pids) != count:
        raise BenchError(f"{count} sessions had a turn, and there are {len(pids)} hubs")
    weights = [proportional_kib(pid) / _KIB for pid in pids]
    name = "echo hub, the only one: PSS" if count == 1 else f"echo hub, one of {count}: PSS"
    return Row(name, "MiB", spread(weights), target=Target(MAX_HUB_MIB, at_most=True, of="measured"))


@asynccontextmanager
async def _attach_apart(server: Server, prefix: str, count: int) -> AsyncIterator[None]:
    """Attach `count` sessions, each over its own connection, for as long as the block lasts."""

    async def join(device: WebSocketConnection, number: int) -> None:
        await join_session(device, server.key, f"{prefix}-{number}", "bench")

    async with _connect_all(server.url, count, join):
        yield


async def _nothing(device: WebSocketConnection, number: int) -> None:
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def _connect_all(
    url: str, count: int, join: Callable[[WebSocketConnection, int], Awaitable[None]]
) -> AsyncIterator[None]:
    """Open `count` connections and `join` with each; they last as long as the block."""
    limit = trio.CapacityLimiter(_CONNECTING)

    async def connect(number: int, *, task_status: trio.TaskStatus[WebSocketConnection]) -> None:
        async with open_device(url) as device:
            await join(device, number)
            task_status.started(device)
            await _drain(device)

    async def connect_one(number: int) -> None:
        async with limit:
            held.append(await nursery.start(connect, number))

    held: list[WebSocketConnection] = []
    async with trio.open_nursery() as nursery:
        with _bounded(_TURN_S + count / 10, "attaching"):
            async with trio.open_nursery() as connecting:
                for number in range(count):
                    connecting.start_soon(connect_one, number)
            await held[0].ping()  # answered: what the server did before is done
        yield
        nursery.cancel_scope.cancel(reason="weighed")


@asynccontextmanager
async def _attach_together(server: Server, prefix: str, count: int) -> AsyncIterator[None]:
    """Attach `count` sessions over one connection for as long as the block lasts."""
    async with open_device(server.url) as device, trio.open_nursery() as nursery:
        with _bounded(_TURN_S + count / 10, "attaching"):
            await join_session(device, server.key, f"{prefix}-0", "bench")
            for number in range(1, count):
                await attach(device, f"{prefix}-{number}", "bench")
            nursery.start_soon(_drain, device)
            await device.ping()  # answered: what the server did before is done
        yield
        nursery.cancel_scope.cancel(reason="weighed")


async def _drain(device: WebSocketConnection) -> None:
    try:
        while True:
            await device.get_message()
    except ConnectionClosed:
        await trio.lowlevel.checkpoint()


@contextmanager
def _bounded(limit_s: float, what: str) -> Iterator[None]:
    """Give the block so long. Raises BenchError where that was not enough."""
    try:
        with trio.fail_after(limit_s):
            yield
    except trio.TooSlowError:
        raise BenchError(f"{what}: not done after {limit_s:g} s") from None


def _allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files, which its children get too. Raises BenchError at the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + WARM_SESSIONS + _DESCRIPTORS_BESIDES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(f"{count} connections need {wanted} open files; `ulimit -Hn` allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
