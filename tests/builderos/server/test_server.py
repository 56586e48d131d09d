"""A server as an operator meets it: a real process, its banner, its files, its end."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from tests.e2e.shared_server import ENDLESS, end_turn
from tests.support.server import ROOT, Server, open_server

_SIGNAL_AT = """
import os, sys
from builderos.__main__ import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
sys.exit(main())
"""
"""A start that gets a signal when it comes to import a module."""


async def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command to its end; return status, stdout and stderr."""
    with trio.fail_after(30):
        done = await trio.run_process(
            [sys.executable, "-m", "builderos", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"} | (environment or {}),
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def errors_of(server: Server) -> list[str]:
    return [line for line in server.errors.read_text().splitlines() if line.startswith("builderos:")]


async def test_banner_and_files(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
        websocket = server.url.replace("http", "ws", 1)
        lines = server.banner.splitlines()
        assert f"Listening on {server.url}" in lines
        assert f"{websocket}/api/claude/ws" in server.banner
        assert f"{websocket}/api/codex/ws" in server.banner
        assert str(server.data / "builderos.db") in server.banner
        assert re.search(r"Sessions +0$", server.banner, re.MULTILINE)
        assert re.fullmatch(r"[0-9a-f]{64}", server.key)
        assert server.key in server.banner
        assert mode_of(server.data) == 0o700
        assert mode_of(server.data / "api-key") == 0o600
        assert mode_of(server.data / "server.log") == 0o600
        async with httpx.AsyncClient(base_url=server.url) as client:
            answer = await client.get("/api/health")
        assert answer.json()["status"] == "ok"
        async with server.device() as device:
            await device.attach("trip", agent="echo")
        key = server.key
        assert await server.terminate() == 0
        await server.restart()
        assert server.key == key
        assert key not in server.banner, "a key is shown once"
        assert re.search(r"Sessions +1$", server.banner, re.MULTILINE)
        rows = sqlite3.connect(server.data / "builderos.db").execute(
            "SELECT session_id, agent_type, device_id, created_at, last_activity FROM sessions"
        )
        assert [row[:2] for row in rows] == [("trip", "echo")]
        assert key not in (server.data / "server.log").read_text()


async def test_a_conversation(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as one, server.device() as two:
        await one.attach("trip", agent="echo", device_id="one")
        await two.attach("trip", device_id="two")
        end = await one.ask("trip", "hello there")
        assert end["type"] == "complete"
        assert one.text("trip", end["turn_id"]) == "echo: hello there "
        await two.wait_for("complete", turn_id=end["turn_id"])
        assert two.text("trip", end["turn_id"]) == "echo: hello there "
        assert two.events("trip", "user_message")[0]["device_id"] == "one"


@pytest.mark.parametrize("how", ["kill9", "terminate"])
async def test_a_turn_outlives_the_server(tmp_path: Path, how: str) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "/words 60 25", message_id="m1")
            first = await device.wait_for("message")
            await getattr(server, how)()
        await server.restart()
        async with server.device() as device:
            after = {"epoch": first["epoch"], "seq": first["seq"]}  # behind it in any case: the turn's end
            attached = await device.attach("trip", after=after)
            assert attached["replay"] == "ok"
            end = await device.wait_for("complete", start=0)
            rest = "".join(f"w{i} " for i in range(60)).removeprefix(first["content"])
            assert (first["offset"], device.text("trip", end["turn_id"])) == (0, rest)
            assert end["text_length"] == len(first["content"] + rest)
            assert (await device.send("trip", "/words 60 25", message_id="m1"))["duplicate"] is True


async def test_an_interrupt_ends_every_hub(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "/hang")
            await device.wait_for("delivery", state="consumed")
            assert await server.interrupt() == 0
            assert await device.wait_closed() == 1001
        left = await trio.to_thread.run_sync(server._wait_gone)
        assert left == []
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            end = await device.wait_for("error")
            assert end["code"] == "agent_exited"


async def test_a_folder_whose_path_is_too_long_for_sockets(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 25)
    deep.mkdir()
    async with open_server(deep) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", ENDLESS)
            await device.wait_for("message")
            after = device.after("trip")
            await server.kill9()
        sockets = Path((server.data / "socket-folder").read_text())
        assert mode_of(sockets) == 0o700
        await server.restart()
        async with server.device() as device:
            await device.attach("trip", after=after)
            await end_turn(device, "trip")
    assert not await trio.Path(sockets).exists()


async def test_a_banner_that_nobody_reads(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        await server.terminate()
        reading, writing = os.pipe()
        os.close(reading)
        with trio.fail_after(30):
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "builderos", "serve", "--port", "0", "--data", str(server.data)],
                stdout=writing,
                stderr=subprocess.PIPE,
                cwd=ROOT,
                env=dict(server.environment),
            )
            os.close(writing)
            while (status := (await run("sessions", "--data", str(server.data)))[0]) != 0:
                assert process.poll() is None
            assert status == 0
            process.terminate()
            assert await process.wait() == 0
            assert process.stderr is not None
            assert b"Traceback" not in await process.stderr.receive_some(65536)
            await process.stderr.aclose()


async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, out, err = await run("serve", "--data", str(tmp_path / "d"), "--port", str(port))
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert f"127.0.0.1:{port}" in err


async def test_a_folder_that_is_held(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, out, err = await run("serve", "--data", str(server.data), "--port", "0")
        assert (status, out) == (1, "")
        assert len(err.splitlines()) == 1
        assert str(server.pid) in err
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", ENDLESS)
            await device.wait_for("message")
            after = device.after("trip")
            first = server._process
            assert first is not None
            await server.start("--take-over")
            with trio.fail_after(40):
                assert await first.wait() == 0
        async with server.device() as device:
            assert (await device.attach("trip", after=after))["replay"] == "ok"
            await end_turn(device, "trip")


async def test_take_over_of_nothing_is_a_plain_start(tmp_path: Path) -> None:
    async with open_server(tmp_path, arguments=["--take-over"]) as server:
        await server.kill9()
        await server.restart()


async def test_the_key_of_the_environment_replaces_the_older(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        old = server.key
        await server.terminate()
        server.environment = {**server.environment, "BUILDEROS_API_KEY": "of-my-own"}
        await server.restart()
        assert server.key == "of-my-own"
        assert mode_of(server.data / "api-key") == 0o600
        headers = [{"X-API-Key": key} for key in (old, "of-my-own")]
        async with httpx.AsyncClient(base_url=server.url) as client:
            answers = [await client.get("/api/sessions", headers=header) for header in headers]
        assert [answer.status_code for answer in answers] == [401, 200]
        assert "of-my-own" not in server.banner


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["serve", "--port", "70000"], "--port"),
        (["serve", "--port", "x"], "--port"),
        (["serve", "--nonsense"], "--nonsense"),
        (["serve", "--log-level", "loud"], "--log-level"),
        (["serve", "--workspace", "/nonexistent/folder"], "--workspace"),
        (["serve", "--tls-cert", "x.pem"], "--tls-key"),
        (["serve", "--tls-cert", "x.pem", "--tls-key", "x.pem"], "--tls-cert"),
        (["serve", "--config", "/nonexistent/config.toml"], "config.toml"),
        (["nonsense"], "nonsense"),
        ([], "COMMAND"),
    ],
)
async def test_a_wrong_option_is_one_line_and_2(arguments: list[str], word: str) -> None:
    status, out, err = await run(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert word in err


async def test_a_wrong_config_is_one_line_and_2(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[agents.claude]\npermision_mode = 'plan'\n")
    status, _, err = await run("serve", "--data", str(tmp_path / "d"), "--config", str(config))
    assert status == 2
    assert err == "builderos: agents.claude.permision_mode: is unknown\n"
    assert not (tmp_path / "d").exists()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = await run("serve", "--data", str(tmp_path / "file" / "d"), "--port", "0")
    assert status == 1
    assert len(err.splitlines()) == 1


async def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "builderos.db").write_bytes(b"something else " * 1000)
    status, _, err = await run("serve", "--data", str(tmp_path), "--port", "0")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert "builderos.db" in err


async def test_bypassing_permissions_is_warned_of(tmp_path: Path) -> None:
    config = '[agents.claude]\npermission_mode = "bypassPermissions"'
    async with open_server(tmp_path, config=config) as server:
        assert await server.terminate() == 0
        assert "agents.claude.permission_mode" in server.errors.read_text()


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    async with open_server(tmp_path, arguments=options) as server:
        assert server.url.startswith("https://")
        assert server.url.replace("http", "ws", 1) in server.banner
        trust = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
        where = ("--data", str(server.data), "--url", server.url)
        status, out, _ = await run(
            "send", "trip", "hi", "--agent", "echo", "--wait", *where, environment=trust
        )
        assert (status, out) == (0, "echo: hi \n")
        status, out, _ = await run("sessions", *where, environment=trust)
        assert status == 0
        assert "trip" in out
        status, _, err = await run("sessions", *where)
        assert status == 1
        assert len(err.splitlines()) == 1
        assert (await run("sessions", *where[:2]))[0] == 0, "the folder's own server is not checked"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_at_any_time_of_the_start_is_a_good_end(tmp_path: Path, number: int) -> None:
    """Modules in the order of their import stand for the times."""
    for module in ("builderos.cli", "trio", "apsw", "wsproto", "storage.store", "builderos.server.server"):
        code = _SIGNAL_AT.format(module=module, number=int(number))
        options = ["serve", "--port", "0", "--data", str(tmp_path / module)]
        with trio.fail_after(30):
            done = await trio.run_process(
                [sys.executable, "-c", code, *options],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                cwd=ROOT,
            )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), module


async def test_a_signal_before_the_banner_is_a_good_end(tmp_path: Path) -> None:
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "builderos", "serve", "--port", "0", "--data", str(tmp_path / "d")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        assert process.stdout is not None
        while not (tmp_path / "d" / "lock").exists():  # noqa: ASYNC110 - a file of another process
            await trio.sleep(0.001)
        process.terminate()
        assert await process.wait() == 0
        await process.stdout.aclose()
