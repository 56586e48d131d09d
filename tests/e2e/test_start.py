"""Section 1: how a server starts, what it leaves on disk, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import psutil
import pytest
import trio

from tests.e2e.shared_server import hubs_of, open_http
from tests.support.server import ROOT, Server, open_server, processes_of


async def run(
    *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run `builderos` to its end, within 20 s."""
    variables = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "HOME": "/nonexistent",
    }
    with trio.fail_after(40):
        return await trio.run_process(
            [sys.executable, "-m", "builderos", *words],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=variables | dict(environment or {}),
        )


def one_line(done: subprocess.CompletedProcess[bytes], status: int) -> str:
    """Return the one line on stderr, with the exit status checked, and nothing on stdout."""
    assert (done.returncode, done.stdout) == (status, b""), done.stderr
    (line,) = done.stderr.decode().splitlines()
    return line


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_banner(place: Path) -> None:
    async with open_server(place) as server:
        port = re.search(r"^Listening on http://127\.0\.0\.1:(\d+)$", server.banner, re.MULTILINE)
        assert port is not None
        assert f"ws://127.0.0.1:{port[1]}/api/claude/ws" in server.banner
        assert f"ws://127.0.0.1:{port[1]}/api/codex/ws" in server.banner
        (database,) = server.data.glob("*.db")
        assert str(database) in server.banner
        assert server.banner.count(server.key) == 1
        async with server.device() as device:
            for name in ("one", "two"):
                await device.attach(name, agent="echo")
        await server.terminate()
        await server.restart()
        assert re.search(r"[Ss]essions\D*2$", server.banner, re.MULTILINE)
        assert server.key not in server.banner


async def test_the_data_folder(place: Path) -> None:
    async with open_server(place) as server:
        assert mode_of(server.data) == 0o700
        assert mode_of(server.data / "api-key") == 0o600
        assert re.fullmatch(r"[0-9a-f]{64}", server.key)
        async with server.device() as device:
            await device.attach("trip", agent="echo", device_id="ipad")
            await device.ask("trip", "a secret word: rhubarb")
        (database,) = server.data.glob("*.db")
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            columns = "session_id, agent_type, device_id, created_at, last_activity"
            ((*row, created, active),) = connection.execute(f"SELECT {columns} FROM sessions").fetchall()
        finally:
            connection.close()
        assert row == ["trip", "echo", "ipad"]
        assert created
        assert active >= created
        await server.terminate()
        for path in server.data.glob("*.db*"):
            assert server.key.encode() not in path.read_bytes(), "hashes only"
        log, errors = (server.data / "server.log").read_text(), server.errors.read_text()
        assert "SIGTERM" in log
        assert "SIGTERM" in errors
        assert server.key not in log + errors


async def test_the_data_folder_of_the_environment(place: Path) -> None:
    data = place / "elsewhere"
    environment = {"BUILDEROS_DATA": str(data), "HOME": str(place)}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await run("serve", "--port", str(port), environment=environment)
        assert str(port) in one_line(done, 1)
        assert data.is_dir()
        done = await run("serve", "--port", str(port), environment={"HOME": str(place)})
        one_line(done, 1)
        assert mode_of(place / ".builderos") == 0o700


async def test_a_second_server_and_take_over(place: Path) -> None:
    async with open_server(place) as server, server.device() as device:
        await device.attach("trip", agent="echo")
        await device.send("trip", "/ask may I")
        asked = await device.wait_for("permission_requested")
        line = one_line(await run("serve", "--port", "0", "--data", str(server.data)), 1)
        assert str(server.pid) in line
        await device.say("ping")
        await device.wait_for("pong")
        other = Server(server.data, place / "other.log", server.arguments, server.environment, server.nursery)
        await other.start("--take-over")
        assert await device.wait_closed() == 1001
        assert await server.wait() == 0
        server._process, other._process = other._process, None
        server.url = other.url
        async with server.device() as again:
            assert (await again.attach("trip", after=device.after("trip")))["replay"] == "ok"
            asks = {"session_id": "trip", "request_id": asked["request_id"]}
            await again.say("decide", decision="allow", **asks)
            assert (await again.wait_for("complete", start=0))["message_count"] == 2


async def test_the_key_of_the_environment(place: Path) -> None:
    async with open_server(place) as server:
        made = server.key

        async def status(key: str) -> int:
            async with httpx.AsyncClient(base_url=server.url) as http:
                return (await http.get("/api/sessions", headers={"X-API-Key": key})).status_code

        await server.terminate()
        bare = server.environment
        server.environment = {**bare, "BUILDEROS_API_KEY": "a-key-of-my-own"}
        await server.restart()
        assert (await status("a-key-of-my-own"), await status(made)) == (200, 401)
        assert server.key == "a-key-of-my-own"
        assert mode_of(server.data / "api-key") == 0o600
        assert "a-key-of-my-own" not in server.banner
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "hello")
            for process in await trio.to_thread.run_sync(processes_of, server.data):
                if process.pid != server.pid:
                    assert "BUILDEROS_API_KEY" not in process.environ()
        await server.terminate()
        server.environment = bare
        await server.restart()
        assert await status("a-key-of-my-own") == 200
        await server.terminate()
        (server.data / "api-key").write_text("")
        await server.restart()
        assert server.key, "the file always holds the first device's key"
        assert await status(server.key) == 200


WRONG = [
    ("heartbeat = 3", "heartbeat"),
    ('heartbeat_s = "3"', "heartbeat_s"),
    ("max_connections = true", "max_connections"),
    ('[agents.claude]\npermission_mode = "yes"', "agents.claude.permission_mode"),
    ('[agents.mine]\nkind = "bridgehub/1.0"\ncommand = "node"\ndirection = "x"', "agents.mine.command"),
    ("heartbeat_s = ", ""),
]
"""A few of each kind; `tests/builderos/test_config.py` has the rest."""


@pytest.mark.parametrize(("text", "key"), WRONG)
async def test_a_wrong_config(place: Path, text: str, key: str) -> None:
    (place / "config.toml").write_text(text)
    done = await run(
        "serve", "--port", "0", "--data", str(place / "data"), "--config", str(place / "config.toml")
    )
    assert key in one_line(done, 2)


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--nonsense"],
        ["serve", "--port", "65536"],
        ["serve", "--config", "/nonexistent/config.toml"],
        [],
    ],
)
async def test_a_wrong_option(words: list[str]) -> None:
    one_line(await run(*words), 2)


async def test_a_data_folder_that_cannot_be(place: Path) -> None:
    (place / "file").write_text("")
    for data in (place / "file", place / "file" / "below"):
        one_line(await run("serve", "--port", "0", "--data", str(data)), 1)


async def test_a_database_that_is_none(place: Path) -> None:
    async with open_server(place) as server:
        (database,) = server.data.glob("*.db")
        await server.terminate()
        kept = database.read_bytes()
        database.write_bytes(b"no database, though long enough to be taken for one" * 100)
        done = await run("serve", "--port", "0", "--data", str(server.data))
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        database.write_bytes(kept)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_end_after_a_signal(place: Path, number: signal.Signals) -> None:
    async with open_server(place) as server, server.device() as device, server.device() as other:
        await device.attach("trip", agent="echo")
        await device.ask("trip", "hello")
        await other.say("watch_sessions")
        hub = hubs_of(server.data)["trip"]
        psutil.Process(server.pid).send_signal(number)
        assert await server.wait() == 0
        assert await device.wait_closed() == 1001
        assert await other.wait_closed() == 1001
        assert not hub.is_running() or hub.status() == psutil.STATUS_ZOMBIE, "it was idle"
        assert "Traceback" not in server.errors.read_text()


async def test_a_signal_while_devices_do_not_read(place: Path) -> None:
    """Nobody can hold up the end of a server."""
    async with open_server(place) as server, server.device() as device, server.device() as other:
        await device.attach("trip", agent="echo")
        await other.attach("trip")
        other.stop_reading()
        await device.ask("trip", "/big 9000000")
        assert await server.terminate() == 0
        other.read_on()
        await other.wait_closed()


async def test_several_agents_in_the_config(place: Path) -> None:
    config = '[agents.mine]\nkind = "echo"\nenv = {GREETING = "hello"}\n'
    async with (
        open_server(place, config=config) as server,
        server.device() as device,
        open_http(server) as http,
    ):
        assert (await device.attach("trip", agent="mine"))["agent_type"] == "mine"
        assert (await device.ask("trip", "hi"))["type"] == "complete"
        listed = (await http.get("/api/sessions")).json()
        assert [(each["session_id"], each["agent_type"]) for each in listed["sessions"]] == [("trip", "mine")]
        for name in ("claude", "codex", "echo"):
            await device.attach(name, agent=name)
