"""Real hub processes: started by the mother, found again, killed with all that is theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import orjson
import pytest
import trio

from actors.errors import HubLost, HubStartFailed
from actors.hub_link import SocketHubLink
from actors.hubs import FoundHub, ProcessHubs
from bridgehub.protocol.codec import encode
from bridgehub.protocol.folder import read_pid_file
from bridgehub.protocol.messages import (
    Consumed,
    HubSpec,
    InterruptTurn,
    Reported,
    TextPiece,
    TurnDone,
    TurnStopped,
)
from bridgehub.protocol.process_tree import is_alive, start_mark
from tests.bridgehub.hub_harness import ENDS, Reader, make_spec, prompt, text_of, until

HUB = f"hub-{os.getpid()}"
"""Unlike any other on the machine: burying a hub kills whoever carries its id."""

ROOT = Path(__file__).resolve().parent.parent.parent
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


_LINKS: list[SocketHubLink] = []


@asynccontextmanager
async def open_hubs(folder: Path, *, by_exec: bool | None = None) -> AsyncIterator[ProcessHubs]:
    """Hubs of a folder of their own; none of them outlives the block."""
    hubs = ProcessHubs(folder / "hubs", folder / "short")
    if by_exec is not None:
        hubs = ProcessHubs(folder / "hubs", folder / "short", by_exec)
    try:
        with trio.fail_after(60):
            yield hubs
    finally:
        with trio.CancelScope(shield=True):
            while _LINKS:
                await _LINKS.pop().aclose()
            await hubs.stop_all()
            await hubs.aclose()


async def open_reader(hubs: ProcessHubs, hub_id: str = HUB, last_seq: int = 0, epoch: int = 1) -> Reader:
    link = await hubs.connect(hub_id, owner_epoch=epoch, last_seq=last_seq)
    _LINKS.append(link)
    return Reader(link, last_seq)


def spec_of(hub_id: str = HUB, **changes: object) -> HubSpec:
    return make_spec(Path("/nowhere"), hub_id, **changes)


def lives(pid: int) -> bool:
    mark = start_mark(pid)
    return mark is not None and is_alive(pid, mark)


def start_program(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python program from the checkout, with something in its environment that no agent may see."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "BUILDEROS_HUB": HUB, "SECRET": "of the server"},
    )


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def until_dead(*pids: int) -> None:
    await until(lambda: not any(map(lives, pids)))


def pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss")


@pytest.mark.parametrize("by_exec", [False, True])
async def test_a_hub_starts_answers_and_stops(tmp_path: Path, by_exec: bool) -> None:
    async with open_hubs(tmp_path, by_exec=by_exec) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        assert text_of(await reader.turn("t1", "good day")) == "echo: good day "
        assert await hubs.living() == [FoundHub(HUB, "trip", alive=True)]
        pid = reader.link.welcome.pid
        await hubs.start(spec_of())  # it lives: nothing happens
        assert (await open_reader(hubs)).link.welcome.pid == pid
        assert await hubs.stop_all() == 1
        assert not lives(pid)
        assert await hubs.living() == [FoundHub(HUB, "trip", alive=False)]
        await hubs.forget(HUB)
        assert await hubs.living() == []


async def test_nobody_there_is_hub_lost(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        with pytest.raises(HubLost):
            await hubs.connect("never", owner_epoch=1, last_seq=0)
        assert await hubs.bury("never", last_seq=0) == []
        await hubs.forget("never")


@pytest.mark.parametrize("by_exec", [False, True])
async def test_a_start_that_fails_leaves_nothing(tmp_path: Path, by_exec: bool) -> None:
    async with open_hubs(tmp_path, by_exec=by_exec) as hubs:
        with pytest.raises(HubStartFailed):
            await hubs.start(spec_of("../up"))
        with pytest.raises(HubStartFailed):
            await hubs.start(spec_of(env={"BAD=NAME": "x"}))
        hubs.folder.mkdir(exist_ok=True)
        (hubs.folder / f"{HUB}-2").write_text("a file where a folder must be")
        with pytest.raises(HubStartFailed):
            await hubs.start(spec_of(HUB + "-2"))
        assert not any(hub.alive for hub in await hubs.living())
        await hubs.start(spec_of(HUB + "-3"))


@on_linux
async def test_a_crash_has_its_status_and_is_seen_after_consumed(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        await reader.link.send(prompt("t1", "/crash"))
        with pytest.raises(HubLost):
            await reader.read_until(TurnDone)
        assert [item.event for item in reader.events] == [Consumed("t1")]
        assert await hubs.bury(HUB, last_seq=reader.position) == []
        with pytest.raises(HubLost):
            await hubs.connect(HUB, owner_epoch=1, last_seq=0)


@on_linux
async def test_a_forked_hub_is_small(tmp_path: Path) -> None:
    async with open_hubs(tmp_path, by_exec=False) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        await reader.turn("t1", "/words 20000")
        assert pss_kib(reader.link.welcome.pid) < 15 * 1024


async def test_hubs_outlive_the_mother_and_a_new_one_is_started(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of(HUB))
        reader = await open_reader(hubs)
        mother = hubs.mother_pid
        assert mother is not None
        os.kill(mother, signal.SIGKILL)
        assert text_of(await reader.turn("t1", "orphan")) == "echo: orphan "
        await hubs.start(spec_of(HUB + "-2"))
        assert hubs.mother_pid not in (None, mother)
        assert sum(hub.alive for hub in await hubs.living()) == 2


async def test_the_mother_goes_with_her_server_and_hubs_stay(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        mother = hubs.mother_pid
        assert mother is not None
        await hubs.aclose()
        assert not lives(mother)
        reader = await open_reader(hubs)
        assert text_of(await reader.turn("t1", "still here")) == "echo: still here "


SERVER = """
import sys, trio
from pathlib import Path
from actors.hubs import ProcessHubs
from bridgehub.protocol.codec import decode_spec
from bridgehub.protocol.messages import Ack, Prompt

async def main():
    hubs = ProcessHubs(Path(sys.argv[1]) / "hubs", Path(sys.argv[1]) / "short")
    await hubs.start(decode_spec(sys.stdin.buffer.readline()))
    link = await hubs.connect(sys.argv[2], owner_epoch=1, last_seq=0)
    await link.send(Prompt("t1", "m1", "/words 3000 0.2", 0))
    while True:
        for item in await link.receive():
            print(item.seq, flush=True)
            if item.seq > 300:
                await link.send(Ack(200))
                await trio.sleep_forever()

trio.run(main)
"""


async def test_a_server_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Of what it had read but not acknowledged too: the next server says how far the journal is."""
    async with open_hubs(tmp_path) as hubs:
        with start_program("-c", SERVER, str(tmp_path), HUB) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(encode(spec_of()))
            server.stdin.close()
            while (seq := int(await trio.to_thread.run_sync(server.stdout.readline))) <= 300:
                journalled = seq
            server.kill()
        reader = await open_reader(hubs, last_seq=journalled, epoch=2)
        assert reader.link.welcome.last_turn_id == "t1"
        events = await reader.read_until(*ENDS)
        assert events[-1].event == TurnDone("t1")
        expected = "".join(f"w{i} " for i in range(3000))
        assert expected.endswith(text_of(events))
        assert reader.position == 3002


async def test_an_abandoned_hub_leaves_its_events_for_the_next_server(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of(idle_abandon_s=0.2))
        reader = await open_reader(hubs)
        reader.acks = False
        await reader.turn("t1", "one two three")
        pid = reader.link.welcome.pid
        await reader.link.aclose()
        await until_dead(pid)
        first = await hubs.bury(HUB, last_seq=0)
        assert list(first) == reader.events
        assert await hubs.bury(HUB, last_seq=0) == first
        assert await hubs.bury(HUB, last_seq=1) == reader.events[1:]
        assert [item.seq for item in await hubs.bury(HUB, last_seq=reader.position)] == []


async def test_what_is_left_ends_at_a_gap_and_at_a_torn_line(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        folder = hubs.folder / HUB
        folder.mkdir(parents=True)
        events = [Reported(n, n, TextPiece("t", "text", "b", str(n))) for n in (3, 4, 5, 7)]
        (folder / "left").write_bytes(b"".join(map(encode, events)))
        (folder / "spool").write_bytes(encode(events[2]) + encode(Reported(6, 6, Consumed("t")))[:-5])
        assert [item.seq for item in await hubs.bury(HUB, last_seq=2)] == [3, 4, 5]
        assert await hubs.bury(HUB, last_seq=1) == []
        (folder / "left").write_bytes(b"\x00garbage\n")
        assert [item.seq for item in await hubs.bury(HUB, last_seq=4)] == [5]


async def test_sigterm_stops_a_hub_that_hangs(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        await reader.link.send(prompt("t1", "/hang"))
        await reader.read_until(Consumed)
        os.kill(reader.link.welcome.pid, signal.SIGTERM)
        await until_dead(reader.link.welcome.pid)


async def test_a_stopped_process_is_killed_with_the_rest(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        for number in range(3):
            await hubs.start(spec_of(f"{HUB}{number}"))
        record = read_pid_file(hubs.folder / f"{HUB}1")
        assert record is not None
        os.kill(record.pid, signal.SIGSTOP)
        assert await hubs.stop_all() == 3
        assert not any(hub.alive for hub in await hubs.living())


async def test_long_paths_move_the_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    short = Path(trio.__file__).anchor / Path("tmp") / f"bo-test-{os.getpid()}"
    hubs = ProcessHubs(deep / "hubs", short)
    try:
        await hubs.start(spec_of())
        assert hubs.socket_of(HUB).parent == short
        assert short.stat().st_mode & 0o777 == 0o700
        reader = await open_reader(hubs)
        assert text_of(await reader.turn("t1", "far")) == "echo: far "
    finally:
        with trio.CancelScope(shield=True):
            await hubs.stop_all()
            await hubs.forget(HUB)
            await hubs.aclose()
    assert list(short.iterdir()) == []
    short.chmod(0o755)
    with pytest.raises(HubStartFailed):
        await hubs.start(spec_of(HUB + "-2"))
    await hubs.aclose()
    short.rmdir()


# ---- an agent with processes of its own ----


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
                    await hubs.bury(HUB, last_seq=0)


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
        await hubs.bury(HUB, last_seq=reader.position)
        assert not any(map(lives, pids))


async def test_nothing_survives_a_burial_of_a_living_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (hubs, reader, program):
        pids = await spawn(reader)
        await hubs.bury(HUB, last_seq=reader.position)
        assert not any(map(lives, [*pids, program.pid]))


async def test_nothing_survives_sigterm_of_a_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (_, reader, program):
        pids = await spawn(reader)
        program.terminate()
        await until_dead(*pids, program.pid)


async def test_an_interrupt_by_force_kills_the_agents_processes_but_not_the_hub(tmp_path: Path) -> None:
    async with unruly_hub(tmp_path) as (_, reader, program):
        pids = await spawn(reader)
        start = trio.current_time()
        await reader.link.send(InterruptTurn("t1"))
        (end,) = await reader.read_until(*ENDS)
        assert end.event == TurnStopped("t1")
        assert trio.current_time() - start < 2.0
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
async def test_a_forked_hub_has_nothing_of_its_mother(tmp_path: Path) -> None:
    async with open_hubs(tmp_path, by_exec=False) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        pid = reader.link.welcome.pid
        mother = hubs.mother_pid
        assert mother is not None
        links = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        of_mother = {os.readlink(f"/proc/{mother}/fd/{name}") for name in os.listdir(f"/proc/{mother}/fd")}
        assert not {link for link in links & of_mother if link.startswith("pipe:")}
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/fd/1") == str(hubs.folder / HUB / "log")
        assert os.getsid(pid) == pid
        environment = environment_of(mother)
        assert b"SECRET" not in environment
        assert b"BUILDEROS_" not in environment
        assert b"GREETING" not in environment


def _by_block(events: Sequence[Reported]) -> dict[str, str]:
    told: dict[str, str] = {}
    for item in events:
        if isinstance(item.event, TextPiece):
            told[item.event.block] = told.get(item.event.block, "") + item.event.text
    return told
