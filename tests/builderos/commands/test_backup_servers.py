"""Backups of a running server, restored under another one."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import trio

from builderos.commands.backup import run_backup, run_restore
from storage.store import open_store
from tests.builderos.commands.backups import NOW_MS, path_of, restored_from, saved_to, upload
from tests.builderos.terminal import run_command
from tests.e2e.shared_server import all_events, hubs_of, open_http, story_of, wait_processes_gone
from tests.support.server import open_server


async def test_a_backup_beside_a_running_server_and_its_restore(tmp_path: Path) -> None:
    """What was said before it is there afterwards with its files, what came later is gone and devices see that."""
    file = tmp_path / "saved.tar"
    async with open_server(tmp_path) as server:
        kept = await upload(server, b"an attachment")
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.attach("open", agent="echo")
            await device.ask("trip", "before")
            await device.send("open", "/hang", message_id="runs")
            await device.wait_for("delivery", session_id="open", state="consumed")
            await device.send("open", "later", message_id="waits")
            status, out, err = await run_command(server, "backup", str(file))
            assert (status, err) == (0, "")
            assert out.startswith("2 sessions, ")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            await device.ask("trip", "after")
            after = {name: device.after(name) for name in ("trip", "open")}
        lost = await upload(server, b"brought later")
        key = server.key
        status, out, err = await run_command(server, "restore", str(file))
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert f"is in use by process {server.pid}" in err
        hubs = hubs_of(server.data)
        await server.kill9()
        assert (await run_command(server, "restore", str(file)))[::2] == (0, "")
        await wait_processes_gone(hubs.values())
        await server.restart()
        assert server.key == key
        async with server.device() as device:
            attached = await device.attach("trip", after=after["trip"], history=1000)
            assert (attached["replay"], attached["epoch"]) == ("snapshot", 2)
            assert await device.ask("trip", "/turns")
            said = [event["content"] for event in device.events("trip", "user_message")]
            assert said == ["before", "/turns"]
            attached = await device.attach("open", after=after["open"], history=1000)
            assert (attached["epoch"], attached["state"], attached["queue"]) == (2, "idle", [])
            events = device.events("open")
            states = [(e["message_id"], e["state"]) for e in events if e["type"] == "delivery"]
            assert states[-2:] == [("waits", "handed"), ("waits", "unknown")]
            assert ("runs", "failed") in states
            story_of(events)
            await device.say("resolve", session_id="open", message_id="waits", action="retry")
            await device.wait_for("complete", session_id="open")
        async with open_http(server) as http:
            assert (await http.get(path_of(kept))).content == b"an attachment"
            assert (await http.get(path_of(lost))).status_code == 404
            story_of(await all_events(http, "trip"))


async def test_a_restore_on_another_machine(tmp_path: Path) -> None:
    """The key goes along, so that the person's devices need nothing new; a long tool text is there, too."""
    file, blob = tmp_path / "saved.tar", b"x" * 100_000
    name = sha256(blob).hexdigest()
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with open_server(tmp_path / "one") as server:
        key = server.key
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "before")
        (server.data / "blobs" / "trip").mkdir()
        (server.data / "blobs" / "trip" / name).write_bytes(blob)
        await server.terminate()
        assert await trio.to_thread.run_sync(saved_to, file, server.data) == 0
    async with open_server(tmp_path / "two", start=False) as server:
        assert await trio.to_thread.run_sync(restored_from, file, server.data) == 0
        await server.start()
        assert server.key == key
        assert (server.data / "blobs" / "trip" / name).read_bytes() == blob
        async with server.device() as device:
            attached = await device.attach("trip", after={"epoch": 1, "seq": 3}, history=1000)
            assert attached["replay"] == "snapshot"
            # nobody here knows how many epochs the other machine went through since
            assert attached["epoch"] == NOW_MS // 1000
            end = await device.ask("trip", "/turns")
            assert device.text("trip", end["turn_id"]) == "turns=2"


async def test_a_restore_keeps_aliases_and_opens_no_pair(tmp_path: Path) -> None:
    file, data, new = tmp_path / "b.tar", tmp_path / "data", tmp_path / "new"
    data.mkdir()
    async with open_store(data / "builderos.db", boot_id="boot") as store:
        aliases = store.aliases
        await store.app_pairs.use("ios-d", "ios-s", "key", now_ms=NOW_MS, keep_ms=1000)
    assert await trio.to_thread.run_sync(lambda: run_backup(file, data, now_ms=NOW_MS)) == 0
    assert await trio.to_thread.run_sync(lambda: run_restore(file, new, now_ms=NOW_MS)) == 0
    async with open_store(new / "builderos.db", boot_id="boot") as store:
        assert store.aliases == aliases
        assert await store.app_pairs.owner("ios-d", "ios-s", since_ms=0) is None
