"""Hubs whose agent has processes: what they get, and that nothing of a hub survives it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import orjson
import trio

from actors.hubs.processes import ProcessHubs
from bridgehub.protocol.codec import encode
from bridgehub.protocol.events import TextPiece, TurnStopped
from bridgehub.protocol.messages import InterruptTurn, Reported
from tests.actors.hub_folder import (
    HUB,
    environment_of,
    lives,
    on_linux,
    open_hubs,
    open_reader,
    spec_of,
    start_program,
    until_dead,
)
from tests.bridgehub.hub_harness import ENDS, Reader, prompt, text_of, until


@asynccontextmanager
async def unruly_hub(folder: Path) -> AsyncIterator[tuple[ProcessHubs, Reader, subprocess.Popen[bytes]]]:
    async with open_hubs(folder) as hubs:
        hub_folder = hubs.folder / HUB
        spec = attrs.evolve(spec_of(kind="unruly"), folder=str(hub_folder), socket=str(hubs.socket_of(HUB)))
        hubs.folder.mkdir(parents=True)
        with start_program("-m", "tests.bridgehub.hub_program") as program:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(encode(spec))
            program.stdin.flush()
            answer = orjson.loads(await trio.to_thread.run_sync(program.stdout.readline))
            assert answer["pid"] == program.pid, answer
            reader = await open_reader(hubs)
            try:
                yield hubs, reader, program
            finally:
                with trio.CancelScope(shield=True):
                    await hubs.reap(HUB, last_seq=0)


async def spawn(reader: Reader) -> list[int]:
    await reader.link.send(prompt("t1", "spawn"))
    while text_of(reader.events).count("\n") < 2:
        await reader.read()
    return [int(word) for word in text_of(reader.events).split()]


async def test_nothing_survives_a_dead_hub(tmp_path: Path) -> None:
    """Seen with a real agent: its tool has a session of its own and outlives a kill of its parent."""
    async with unruly_hub(tmp_path) as (hubs, reader, program):
        pids = await spawn(reader)
        stay, orphan, _, second_orphan = pids
        assert all(map(lives, (stay, orphan, second_orphan)))
        program.kill()
        program.wait()
        assert all(map(lives, (stay, orphan, second_orphan)))
        await hubs.reap(HUB, last_seq=reader.position)
        assert not any(map(lives, pids))


async def test_nothing_survives_a_burial_of_a_living_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (hubs, reader, program):
        pids = await spawn(reader)
        await hubs.reap(HUB, last_seq=reader.position)
        assert not any(map(lives, [*pids, program.pid]))


async def test_nothing_survives_sigterm_of_a_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (_, reader, program):
        pids = await spawn(reader)
        program.terminate()
        await until_dead(*pids, program.pid)


async def test_a_second_sigterm_does_not_cut_the_orderly_end(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (hubs, reader, program):
        reader.acks = False
        pids = await spawn(reader)
        program.terminate()
        await until(lambda: (hubs.folder / HUB / "left").exists())
        program.terminate()
        await until_dead(*pids, program.pid)
        assert list(await hubs.reap(HUB, last_seq=0)) == reader.events


async def test_a_forced_interrupt_kills_the_agent_but_not_the_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (_, reader, program):
        pids = await spawn(reader)
        await reader.link.send(InterruptTurn("t1"))
        (end,) = await reader.read_until(*ENDS)
        assert end.event == TurnStopped("t1")
        assert not any(map(lives, pids))
        assert lives(program.pid)
        assert text_of(await reader.turn("t2", "environment"))


@on_linux
async def test_the_agent_has_exactly_its_environment(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (hubs, reader, _):
        events = await reader.turn("t1", "environment")
        told = _by_block(events)
        environment = orjson.loads(told["b"])
        environment.pop("LC_CTYPE", None)  # Python's own, where no locale is set
        assert environment == {"PATH": "/usr/bin:/bin", "GREETING": "hello", "BUILDEROS_HUB": HUB}
        own = orjson.loads(told["c"])
        assert own["cwd"] == "/"
        assert (hubs.folder / HUB).stat().st_mode & 0o777 == 0o700
        assert hubs.socket_of(HUB).stat().st_mode & 0o077 == 0


@on_linux
async def test_a_forked_hub_has_nothing_of_its_fork_server(tmp_path: Path) -> None:
    async with open_hubs(tmp_path, by_exec=False) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        pid = reader.link.welcome.pid
        fork_server = hubs.fork_server_pid
        assert fork_server is not None
        links = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        of_fork_server = {
            os.readlink(f"/proc/{fork_server}/fd/{name}") for name in os.listdir(f"/proc/{fork_server}/fd")
        }
        assert not {link for link in links & of_fork_server if link.startswith("pipe:")}
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/fd/1") == str(hubs.folder / HUB / "log")
        assert os.getsid(pid) == pid
        environment = environment_of(fork_server)
        assert b"SECRET" not in environment
        assert b"BUILDEROS_" not in environment
        assert b"GREETING" not in environment


def _by_block(events: Sequence[Reported]) -> dict[str, str]:
    told: dict[str, str] = {}
    for item in events:
        if isinstance(item.event, TextPiece):
            told[item.event.block] = told.get(item.event.block, "") + item.event.text
    return told
