"""A terminal gets the socket of a program that it can join, or learns soon that there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from actors.commands import Send, Warm
from actors.desk.joining import HUBS, Joining
from actors.supervisor import Supervisor
from bridgehub.protocol.folder import can_join, refuse_joining
from bridgehub.protocol.hub_spec import HubSpec
from storage.records import SessionRecord
from tests.actors.core import author
from tests.actors.harness import Harness, act, ask, open_harness, open_server
from tests.fakes.scripted_hubs import Ask
from tests.storage.stores import until

LIMIT_S = 20.0


@pytest.fixture
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program of each hub listens. A socket's path must be short."""
    return tmp_path_factory.mktemp("j") / "sx"


@asynccontextmanager
async def open_rig(program: Path) -> AsyncIterator[tuple[Harness, Supervisor]]:
    async with open_harness() as harness:
        plain = harness.deps.spec_for

        def spec_for(record: SessionRecord, hub_id: str) -> HubSpec:
            return attrs.evolve(plain(record, hub_id), socket=str(program.with_name("s")))

        harness.deps = attrs.evolve(harness.deps, spec_for=spec_for)
        async with open_server(harness) as server:
            yield harness, server


@contextmanager
def listening(program: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(program))
        listener.listen()
        yield


async def wait(server: Supervisor) -> str:
    with trio.fail_after(LIMIT_S):
        return await Joining(server, "trip", author("phone")).wait()


async def test_a_program_is_waited_for_until_it_listens(program: Path) -> None:
    found: list[str] = []
    async with open_rig(program) as (harness, server), trio.open_nursery() as nursery:

        @nursery.start_soon
        async def join() -> None:
            found.append(await wait(server))

        await until(lambda: bool(harness.hubs.hubs))
        assert can_join(program) is None
        with listening(program):
            await until(lambda: bool(found))
    assert found == [str(program)]


async def test_what_an_earlier_start_left_does_not_count(program: Path) -> None:
    async with open_rig(program) as (harness, server):
        await act(server, Warm())
        await until(lambda: bool(harness.hubs.hubs))
        refuse_joining(program)
        found: list[str] = []
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def join() -> None:
                found.append(await wait(server))

            await until(lambda: can_join(program) is not False)  # it is removed before the next start
            refuse_joining(program)
        assert found == [""]


async def test_nothing_is_waited_for_that_cannot_come(program: Path) -> None:
    """A path that is too long for a socket."""
    async with open_rig(program.with_name("x" * 120) / "sx") as (_, server):
        assert await wait(server) == ""


async def test_a_session_that_asks_somebody_first_is_not_joined(program: Path) -> None:
    async with open_rig(program) as (harness, server):
        harness.hubs.scripts["go"] = (Ask("r1"),)
        await ask(server, Send("m1", "go"))
        await harness.until("permission_requested")
        assert await wait(server) == ""


async def test_a_hub_that_ends_is_replaced_a_few_times(program: Path) -> None:
    async with open_rig(program) as (harness, server):
        harness.hubs.fail_starts = HUBS
        assert await wait(server) == ""
        assert harness.hubs.fail_starts == 0
