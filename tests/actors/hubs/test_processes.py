"""Real hub processes: started by the fork server, found again, stopped, reaped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

import actors.hubs.processes
from actors.errors import HubLost, HubStartFailed
from actors.hubs.processes import ProcessHubs
from actors.ports import FoundHub
from bridgehub.protocol.codec import encode
from bridgehub.protocol.events import Consumed, TextPiece, TurnDone
from bridgehub.protocol.folder import PID_NAME, HubPid, read_pid_file, write_pid_file
from bridgehub.protocol.messages import Reported
from bridgehub.protocol.process_tree import TreeKillFailed, kill_tree
from tests.actors.hub_folder import (
    HUB,
    lives,
    on_linux,
    open_hubs,
    open_reader,
    pss_kib,
    spec_of,
    start_program,
    until_dead,
)
from tests.bridgehub.hub_harness import ENDS, prompt, text_of


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
        await hubs.stop([hub.hub_id for hub in await hubs.living()])
        assert not lives(pid)
        assert await hubs.living() == [FoundHub(HUB, "trip", alive=False)]
        await hubs.forget(HUB)
        assert await hubs.living() == []


async def test_forgetting_a_hub_that_started_late_ends_it(tmp_path: Path) -> None:
    """A server judged that it never started, while the start that an earlier server had ordered continued."""
    async with open_hubs(tmp_path) as hubs:
        assert await hubs.reap(HUB, last_seq=0) == []
        await hubs.start(spec_of())
        record = read_pid_file(hubs.folder / HUB)
        assert record is not None
        await hubs.forget(HUB)
        assert not lives(record.pid)
        assert await hubs.living() == []


async def test_a_hub_that_cannot_be_killed_keeps_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TreeKillFailed((1,))

    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        with monkeypatch.context() as spoilt:
            spoilt.setattr(actors.hubs.processes, "kill_tree", fail)
            await hubs.forget(HUB)
        assert await hubs.living() == [FoundHub(HUB, "trip", alive=True)]


async def test_nobody_there_is_hub_lost(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        with pytest.raises(HubLost):
            await hubs.connect("never", owner_epoch=1, last_seq=0)
        assert await hubs.reap("never", last_seq=0) == []
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


async def test_many_starts_at_once(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(hubs.start, spec_of(f"{HUB}-{number}"))
        readers = [await open_reader(hubs, f"{HUB}-{number}") for number in range(10)]
        async with trio.open_nursery() as nursery:
            for reader in readers:
                nursery.start_soon(reader.turn, "t1", f"I am {reader.link.welcome.hub_id}")
        assert [text_of(reader.events) for reader in readers] == [
            f"echo: I am {HUB}-{number} " for number in range(10)
        ]


@on_linux
async def test_a_crash_has_its_status_and_is_seen_after_consumed(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        await reader.link.send(prompt("t1", "/crash"))
        with pytest.raises(HubLost):
            await reader.read_until(TurnDone)
        assert [item.event for item in reader.events] == [Consumed("t1")]
        assert await hubs.reap(HUB, last_seq=reader.position) == []
        with pytest.raises(HubLost):
            await hubs.connect(HUB, owner_epoch=1, last_seq=0)


@on_linux
async def test_a_forked_hub_is_small(tmp_path: Path) -> None:
    async with open_hubs(tmp_path, by_exec=False) as hubs:
        await hubs.start(spec_of())
        reader = await open_reader(hubs)
        await reader.turn("t1", "/words 20000")
        assert pss_kib(reader.link.welcome.pid) < 15 * 1024


async def test_hubs_outlive_the_fork_server_and_a_new_one_is_started(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of(HUB))
        reader = await open_reader(hubs)
        fork_server = hubs.fork_server_pid
        assert fork_server is not None
        os.kill(fork_server, signal.SIGKILL)
        await until_dead(fork_server)  # one that is about to die may still take the next spec with it
        assert text_of(await reader.turn("t1", "orphan")) == "echo: orphan "
        await hubs.start(spec_of(HUB + "-2"))
        assert hubs.fork_server_pid not in (None, fork_server)
        assert sum(hub.alive for hub in await hubs.living()) == 2


async def test_the_fork_server_goes_with_its_server_and_hubs_stay(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        fork_server = hubs.fork_server_pid
        assert fork_server is not None
        await hubs.aclose()
        assert not lives(fork_server)
        reader = await open_reader(hubs)
        assert text_of(await reader.turn("t1", "still here")) == "echo: still here "


SERVER = """
import sys, trio
from pathlib import Path
from actors.hubs.processes import ProcessHubs
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
        assert reader.position == 3003  # with what the agent offers


async def test_an_abandoned_hub_leaves_its_events_for_the_next_server(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of(idle_abandon_s=0.2))
        reader = await open_reader(hubs)
        reader.acks = False
        await reader.turn("t1", "one two three")
        pid = reader.link.welcome.pid
        await reader.link.aclose()
        await until_dead(pid)
        first = await hubs.reap(HUB, last_seq=0)
        said = sorted([*reader.events, *reader.newest], key=lambda item: item.seq)
        assert list(first) == said
        assert await hubs.reap(HUB, last_seq=0) == first
        assert await hubs.reap(HUB, last_seq=1) == said[1:]
        assert [item.seq for item in await hubs.reap(HUB, last_seq=reader.position)] == []


async def test_what_is_left_ends_at_a_gap_and_at_a_torn_line(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        folder = hubs.folder / HUB
        folder.mkdir(parents=True)
        events = [Reported(n, n, TextPiece("t", "text", "b", str(n))) for n in (3, 4, 5, 7)]
        (folder / "left").write_bytes(b"".join(map(encode, events)))
        (folder / "spool").write_bytes(encode(events[2]) + encode(Reported(6, 6, Consumed("t")))[:-5])
        assert [item.seq for item in await hubs.reap(HUB, last_seq=2)] == [3, 4, 5]
        assert await hubs.reap(HUB, last_seq=1) == []
        (folder / "left").write_bytes(b"\x00garbage\n")
        assert [item.seq for item in await hubs.reap(HUB, last_seq=4)] == [5]


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
        await hubs.stop([hub.hub_id for hub in await hubs.living()])
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
            await hubs.stop([hub.hub_id for hub in await hubs.living()])
            await hubs.forget(HUB)
            await hubs.aclose()
    assert list(short.iterdir()) == []
    short.chmod(0o755)
    with pytest.raises(HubStartFailed):
        await hubs.start(spec_of(HUB + "-2"))
    await hubs.aclose()
    short.rmdir()


async def test_the_fork_server_outlives_many_deaths_at_once(tmp_path: Path) -> None:
    """The signals of their deaths come in the middle of each other's handling."""
    async with open_hubs(tmp_path, by_exec=False) as hubs:
        await hubs.start(spec_of())
        fork_server = hubs.fork_server_pid
        for number in range(6):
            names = [f"{HUB}-{number}-{place}" for place in range(8)]
            for name in names:
                await hubs.start(spec_of(name))
            pids = [record.pid for name in names if (record := read_pid_file(hubs.folder / name))]
            assert len(pids) == len(names)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            await until_dead(*pids)
        await hubs.start(spec_of(f"{HUB}-last"))
        assert hubs.fork_server_pid == fork_server


async def test_a_started_hub_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, folder, and the folder's own name; a power cut must not make its prompt look unsent."""
    synced: list[int] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "hubs" / HUB
    folder.mkdir(parents=True)
    write_pid_file(folder, HubPid(HUB, "trip", os.getpid(), "then"))
    assert synced == [path.stat().st_ino for path in (folder / PID_NAME, folder, folder.parent)]
    assert read_pid_file(folder) == HubPid(HUB, "trip", os.getpid(), "then")


async def test_looking_for_hubs_does_not_wait_for_burials(tmp_path: Path) -> None:
    async with open_hubs(tmp_path) as hubs:
        await hubs.start(spec_of())
        burials = [object() for _ in range(int(hubs._kills.total_tokens))]
        for cleanup in burials:
            hubs._kills.acquire_on_behalf_of_nowait(cleanup)
        with trio.fail_after(40):
            assert await hubs.find(HUB) == FoundHub(HUB, "trip", alive=True)
            assert len(await hubs.living()) == 1
            await hubs.forget("never")
        for cleanup in burials:
            hubs._kills.release_on_behalf_of(cleanup)


async def test_stop_tells_which_hubs_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot be killed is one that the kernel holds, so the kill of one hub is spoilt here."""
    held = start_program("-c", "import time; time.sleep(60)")  # carries the mark of HUB, has no pid file
    really = kill_tree

    def kill(hub_id: str, *rest: Any) -> None:
        if hub_id == HUB:
            raise TreeKillFailed((held.pid,))
        really(hub_id, *rest)

    try:
        async with open_hubs(tmp_path) as hubs:
            other = f"{HUB}-2"
            await hubs.start(spec_of(other))
            with monkeypatch.context() as patch:
                patch.setattr("actors.hubs.processes.kill_tree", kill)
                assert set(await hubs.stop([HUB, other])) == {HUB}
            assert [hub.alive for hub in await hubs.living()] == [False]
            assert set(await hubs.stop([HUB])) == set()
            assert held.wait(5) == -signal.SIGKILL
    finally:
        held.kill()
        held.communicate()


async def test_a_hub_of_an_earlier_version_is_found_under_todays_name(tmp_path: Path) -> None:
    """It was started with the iOS app's own id; its greeting still has to name that one."""
    hubs = ProcessHubs(tmp_path / "hubs", tmp_path / "short", name_of={"own": "alias"}.__getitem__)
    folder = tmp_path / "hubs" / HUB
    folder.mkdir(parents=True)
    write_pid_file(folder, HubPid(HUB, "own", os.getpid(), "then"))
    assert await hubs.find(HUB) == FoundHub(HUB, "alias", alive=False)
    assert [one.session_id for one in await hubs.living()] == ["alias"]
