"""`builderos devices`: on a running server, on a folder without one, and what it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trio

from builderos.cli import main
from builderos.client.terminal import terminal_code
from tests.builderos.terminal import run_command
from tests.support.device import open_device
from tests.support.server import ROOT, Server, open_server


async def run_alone(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `builderos devices` with a data folder that nobody serves."""
    command = [sys.executable, "-m", "builderos", "devices", *arguments, "--data", str(folder / "data")]
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    with trio.fail_after(30):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=variables | environment
        )
    assert isinstance(done, subprocess.CompletedProcess)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def status_with(server: Server, key: str) -> int:
    async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}) as http:
        return (await http.get("/api/status")).status_code


async def test_on_a_running_server(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, out, err = await run_command(server, "devices", "add", "Ann's iPad", "--scope", "view")
        assert status == 0
        key = out.strip()
        assert out == f"{key}\n"
        assert key not in err
        assert await status_with(server, key) == 200
        status, out, err = await run_command(server, "devices")
        assert (status, err) == (0, "")
        assert [line.split()[0] for line in out.splitlines()][:2] == ["ID", "first"]
        (mine,) = (line for line in out.splitlines() if re.search("Ann's iPad +view", line))
        assert (await run_command(server, "devices", "list"))[1] == out
        async with open_device(server.url, key) as device:
            status, _, err = await run_command(server, "devices", "revoke", mine.split()[0])
            assert (status, err) == (0, "")
            assert await device.wait_closed() == 4401
        assert await status_with(server, key) == 401
        status, _, err = await run_command(server, "devices", "revoke", mine.split()[0])
        assert (status, len(err.splitlines())) == (1, 1)
        status, _, err = await run_command(server, "devices", "revoke", "first")
        assert (status, len(err.splitlines())) == (1, 1)
        assert "first device" in err


async def test_pairing_by_the_link_of_a_running_server(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        status, out, err = await run_command(server, "devices", "pair", "--name", "Kitchen")
        assert status == 0
        *code_lines, link = out.splitlines()
        assert link.startswith(f"{server.url}/#pair=")
        assert "\n".join(code_lines) + "\n" == terminal_code(link)
        assert "--url" in err, "nobody else finds this machine's own address"
        code = link.partition("#pair=")[2]
        async with httpx.AsyncClient(base_url=server.url) as http:
            told = (await http.post("/api/pair", headers={"X-API-Key": code})).json()
        assert (told["name"], told["scope"]) == ("Kitchen", "drive")
        assert await status_with(server, told["key"]) == 200
        status, out, err = await run_command(server, "devices", "pair", "--url", "https://box.example/b/")
        assert out.splitlines()[-1].startswith("https://box.example/b/#pair=")
        assert "--url" not in err


async def test_on_a_folder_that_nobody_serves(tmp_path: Path) -> None:
    status, out, _ = await run_alone(tmp_path, "add", "Mac", "--scope", "admin")
    key = out.strip()
    assert (status, out) == (0, f"{key}\n")
    status, out, _ = await run_alone(tmp_path, "pair", "--url", "https://box.example")
    assert status == 0
    code = out.splitlines()[-1].removeprefix("https://box.example/#pair=")
    status, out, _ = await run_alone(tmp_path)
    assert [line.split()[1] for line in out.splitlines()] == ["NAME", "Mac", "first"]
    assert key not in out
    mac = out.splitlines()[1].split()[0]
    assert (await run_alone(tmp_path, "revoke", mac))[0] == 0
    assert (await run_alone(tmp_path, "revoke", mac))[0] == 1
    assert "first device" in (await run_alone(tmp_path, "revoke", "first"))[2]
    async with open_server(tmp_path) as server:
        _, out, _ = await run_command(server, "audit")
        told = [line.split("  ")[1:4] for line in out.splitlines()]
        local = ["first device", "from local"]
        wanted = [[act, *local] for act in ("device_added", "pairing_opened", "revoked")]
        assert [line for line in told if line[2] == "from local"] == wanted
        assert await status_with(server, key) == 401
        async with httpx.AsyncClient(base_url=server.url) as http:
            paired = await http.post("/api/pair", headers={"Authorization": f"Bearer {code}"})
        assert paired.status_code == 200, "a code lives over a start of the server"


@pytest.mark.parametrize(
    ("arguments", "expected", "word"),
    [
        (["revoke", "../first"], 2, "device ID"),
        (["revoke", "abc"], 1, "no database"),
        (["list"], 1, "no database"),
        (["add", "a\x1b[2Jb"], 2, "name"),
        (["add", ""], 2, "name"),
        (["add", "n" * 101], 2, "name"),
        (["add", "x", "--scope", "god"], 2, "--scope"),
        (["pair"], 1, "--url"),
        (["pair", "--url", "ftp://box"], 2, "ftp://box"),
        (["list", "--url", "http://127.0.0.1:1", "--key", "k"], 1, "127.0.0.1:1"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: int, word: str
) -> None:
    status: object
    try:
        status = main(["devices", *arguments, "--data", str(tmp_path / "data")])
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert (status, out) == (expected, "")
    assert len(err.splitlines()) == 1
    assert word in err
    assert "\x1b" not in err
    assert not (tmp_path / "data").exists()


async def test_a_key_that_may_not(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        _, out, _ = await run_command(server, "devices", "add", "watcher", "--scope", "view")
        status, out, err = await run_alone(tmp_path, "add", "x", "--url", server.url, "--key", out.strip())
        assert (status, out) == (1, "")
        assert "may not" in err


def test_the_code_is_black_on_white_with_its_border() -> None:
    lines = terminal_code("https://box.example/#pair=" + "x" * 32).splitlines()
    rows = [re.fullmatch("\x1b\\[38;5;16;48;5;231m([ ▀▄█]+)\x1b\\[0m", line) for line in lines]
    texts = [row[1] for row in rows if row is not None]
    assert len(texts) == len(lines)
    side = len(texts[0])
    assert {len(text) for text in texts} == {side}
    assert side <= 80
    assert texts[0].strip() == texts[1].strip() == ""
    assert all(text.startswith("    ") and text.endswith("    ") for text in texts)
    # the three squares by which a camera finds it
    assert texts[2][4:11] == "█▀▀▀▀▀█"
    assert texts[2][-11:-4] == "█▀▀▀▀▀█"
