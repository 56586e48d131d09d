"""What memory costs: a session that is attached and idle, and an echo hub."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from bench.chains import Server, open_server
from bench.devices import attach, join_session, open_device, read_run, send
from bench.errors import BenchError
from bench.figures import spread
from bench.plan import Plan
from bench.processes import proportional_kib, resident_kib
from bench.report import Row, Target

__all__ = ["measure_hubs", "measure_memory"]

MAX_IDLE_KIB = 100.0
"""`Tens of KB` for a session that is attached and idle."""

MAX_HUB_MIB = 15.0

WARM_SESSIONS = 8
"""Sessions attached before the first weighing: caches and threads that come once are not the cost of a session."""

_DESCRIPTORS_BESIDES = 200
_CONNECTING = 64
"""Connections opened at once; a server lets 256 wait for their sign-in."""

_TURN_S = 30.0
_KIB = 1024.0


@attrs.frozen
class _Weight:
    """Memory of the server, in KiB."""

    resident: float
    proportional: float


async def measure_memory(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of idle sessions. Raises BenchError where the server broke or cannot be looked at."""
    await trio.lowlevel.checkpoint()
    _allow_descriptors(plan.idle_sessions)
    rows = []
    layouts = (("a connection each", _attach_apart), ("one connection", _attach_together))
    for number, (name, attach_all) in enumerate(layouts):
        say(f"{plan.idle_sessions} idle sessions, {name}")
        async with (
            open_server(folder / f"idle-data-{number}", folder) as server,
            _attach_apart(server, "warm", WARM_SESSIONS),
        ):
            before = _account(server.pid)
            async with attach_all(server, "idle", plan.idle_sessions):
                after = _account(server.pid)
        count = plan.idle_sessions
        rows += [
            _each(f"idle session, {name}: PSS", before.proportional, after.proportional, count, counts=True),
            _each(f"idle session, {name}: RSS", before.resident, after.resident, count, counts=False),
        ]
        if number == 0:
            rows.append(Row("server without load: PSS", "MiB", spread([before.proportional / _KIB])))
    return rows


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
        mother = server.mother()
        if mother is not None:
            rows.append(Row("the hubs' mother: PSS", "MiB", spread([proportional_kib(mother) / _KIB])))
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
    limit = trio.CapacityLimiter(_CONNECTING)

    async def connect(number: int, *, task_status: trio.TaskStatus[WebSocketConnection]) -> None:
        async with open_device(server.url) as device:
            await join_session(device, server.key, f"{prefix}-{number}", "bench")
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


def _account(pid: int) -> _Weight:
    return _Weight(resident_kib(pid), proportional_kib(pid))


def _each(name: str, before: float, after: float, count: int, *, counts: bool) -> Row:
    target = Target(MAX_IDLE_KIB, at_most=True, of="measured") if counts else None
    return Row(name, "KiB", spread([(after - before) / count]), target=target)


def _allow_descriptors(count: int) -> None:
    """Raise this process's limit of open files, which its children get too. Raises BenchError at the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + WARM_SESSIONS + _DESCRIPTORS_BESIDES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise BenchError(f"{count} connections need {wanted} open files; `ulimit -Hn` allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
