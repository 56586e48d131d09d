"""A disk that fails under a real server: all learn of it, nothing acknowledged is lost, service resumes by itself."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from storage.sqlite.commit_mark import MARK_NAME
from tests.builderos.terminal import run_command
from tests.e2e.shared_server import ENDLESS, all_events, end_turn, open_http, story_of, words_of
from tests.storage.stores import until
from tests.support.device import Device
from tests.support.flawed import Flaws
from tests.support.server import Server, open_server


@contextmanager
def disk(flaws: Flaws, word: str) -> Iterator[None]:
    flaws.turn_on("disk", word)
    try:
        yield
    finally:
        flaws.turn_off("disk")


@contextmanager
def no_room(server: Server) -> Iterator[None]:
    """Let the kernel refuse every write of the server to a file: a full disk as near as a test comes to it."""
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Hold the database's write lock, as a person's forgotten `sqlite3` would."""
    with closing(sqlite3.connect(server.data / "builderos.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def live_through(device: Device, other: Device, name: str, fault: object) -> None:
    """A turn streams while the disk fails and comes back."""
    await device.attach(name, agent="echo")
    await other.attach(name)
    await device.send(name, ENDLESS, message_id="m1")
    await device.wait_for("message", session_id=name)
    with fault:  # type: ignore[attr-defined]
        for one in (device, other):
            told = await one.wait_for("error", session_id=name, code="storage")
            assert told["content"], told
            assert "seq" not in told
        refused = await device.send(name, "hello", message_id="m2")
        assert (refused["type"], refused["code"]) == ("rejected", "storage"), refused
        await other.say("attach", session_id=f"{name}-new", agent="echo")
        await other.wait_for("error", session_id=f"{name}-new", code="storage")
        await device.say("ping")
        await device.wait_for("pong")
    end = await end_turn(device, name)
    assert words_of(device.text(name, end["turn_id"])) > 1
    accepted = await device.send(name, "hello", message_id="m2")
    assert (accepted["type"], accepted["duplicate"]) == ("accepted", False)
    await device.wait_for("complete", session_id=name)


async def stop_meanwhile(device: Device, flaws: Flaws) -> None:
    """Who presses Stop while the disk is full need not press it again."""
    await device.attach("stopped", agent="echo")
    await device.send("stopped", "/hang")
    await device.wait_for("delivery", session_id="stopped", state="consumed")
    with disk(flaws, "full"):
        await device.say("rename", session_id="stopped", title="a name")
        await device.wait_for("rejected", session_id="stopped", code="storage")
        start = len(device.frames)
        await device.say("interrupt", session_id="stopped")
        await device.say("ping")
        await device.wait_for("pong", start=start)
        assert not any(frame["type"] == "rejected" for frame in device.frames[start:])
    await device.wait_for("interrupted", session_id="stopped")


async def test_every_fault_is_told_and_lived_through(place: Path) -> None:
    flaws = Flaws(place)
    environment = {"FLAWS": str(place)}
    async with open_server(place, module="tests.support.flawed", environment=environment) as server:
        async with server.device() as device, server.device() as other:
            faults = {
                "full": disk(flaws, "full"),
                "read-only": disk(flaws, "read-only"),
                "broken": disk(flaws, "broken"),
                "no-room": no_room(server),
                "locked": locked(server),
            }
            for name, fault in faults.items():
                await live_through(device, other, name, fault)
            seen = {name: device.events(name) for name in faults}
            await stop_meanwhile(device, flaws)
        await server.kill9()
        await server.restart()
        async with open_http(server) as http:
            listed = {one["session_id"] for one in (await http.get("/api/sessions")).json()["sessions"]}
            assert listed == {*faults, "stopped"}
            for name in faults:
                events = await all_events(http, name)
                assert story_of(events) == story_of(seen[name])
                said = [event["message_id"] for event in events if event["type"] == "user_message"]
                started = [event["message_id"] for event in events if event["type"] == "turn_started"]
                assert said == started == ["m1", "m2"]


async def newer_mark(server: Server, before: str) -> str:
    path = server.data / MARK_NAME
    await until(lambda: path.exists() and path.read_text() != before)
    return path.read_text()


async def test_a_damaged_wal_is_told_and_lived_through(tmp_path: Path) -> None:
    """Everybody starts over at an epoch that no device knows, and a session continues from what is left."""
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "one")
        mark = await newer_mark(server, "")
        await server.terminate()
        await server.start()
        async with server.device() as device:
            await device.attach("trip")
            await device.ask("trip", "two")
            await newer_mark(server, mark)
            after = device.after("trip")
        await server.kill9()
        wal = server.data / "builderos.db-wal"
        content = bytearray(wal.read_bytes())
        content[500] ^= 1  # in the first frame: nothing of the second run is left
        wal.write_bytes(content)
        await server.restart()
        assert "the newest commits are missing" in server.errors.read_text()
        async with server.device() as device, open_http(server) as http:
            attached = await device.attach("trip", after=after)
            assert attached["replay"] == "snapshot"
            assert attached["epoch"] > after["epoch"] + 1000
            end = await device.ask("trip", "three")
            assert device.text("trip", end["turn_id"]) == "echo: three "
            said = [one["content"] for one in await all_events(http, "trip") if one["type"] == "user_message"]
            assert said == ["one", "three"]
        _, audit, _ = await run_command(server, "audit")
        assert "commits_lost" in audit
