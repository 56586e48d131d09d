"""The fork server imports what a hub of its kind needed, for the hubs after it, and gives it up again."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import orjson
import pytest
import trio

from actors.hubs.fork_server import ForkServer
from bridgehub.protocol.codec import encode
from bridgehub.protocol.process_tree import kill_tree
from tests.actors.hub_folder import HUB, ROOT, on_linux, until_dead
from tests.bridgehub.hub_harness import make_spec, until

pytestmark = on_linux

PROGRAM = """
import sys
import bridgehub.fork_server as server
server.PRELOAD_AFTER_S, server.FORGET_AFTER_S = 0.0, 0.05
sys.exit(server.main([]))
"""

SLOW = """
import sys
from pathlib import Path
import bridgehub.fork_server as server

def preload(kind):
    Path(sys.argv[1], "begun").touch()
    Path(sys.argv[1], "goes-on").read_bytes()

server.PRELOAD_AFTER_S, server.preload = 0.0, preload
sys.exit(server.main([]))
"""

SIGN = "pydantic_core"
"""A library that Claude's SDK brings, and nothing else of a hub."""


@attrs.define(eq=False)
class Server:
    process: subprocess.Popen[bytes]
    folder: Path

    def start(self, number: int, kind: str) -> int:
        """Start a hub and return its pid."""
        folder = self.folder / str(number)
        spec = make_spec(folder, f"{HUB}-{number}", kind=kind)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(encode(spec))
        self.process.stdin.flush()
        while "pid" not in (said := orjson.loads(self.process.stdout.readline())):
            pass  # it imports
        return int(said["pid"])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        yield Server(process, tmp_path)
    finally:
        for number in range(2):
            kill_tree(f"{HUB}-{number}")
        process.kill()
        process.communicate()


def has_sdk(pid: int) -> bool:
    return SIGN in Path(f"/proc/{pid}/maps").read_text()


async def test_the_second_hub_of_a_kind_has_its_modules(server: Server) -> None:
    pytest.importorskip("claude_agent_sdk")
    with trio.fail_after(60):
        assert not has_sdk(server.start(0, "claude"))
        await until(lambda: has_sdk(server.process.pid))
        assert len(os.listdir(f"/proc/{server.process.pid}/task")) == 1, "a fork takes one thread along"
        assert has_sdk(server.start(1, "claude"))


async def test_an_import_that_takes_long_is_not_taken_for_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "goes-on")
    command, waits = [sys.executable, "-c", SLOW, str(tmp_path)], threading.Event()

    def launch(self: ForkServer) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def select_noting(reading: Any, writing: Any, failing: Any, limit_s: float) -> Any:
        if limit_s > 1:
            waits.set()
        return select.select(reading, writing, failing, limit_s)

    monkeypatch.setattr(ForkServer, "_launch", launch)
    fork_server = ForkServer(tmp_path / "log", by_exec=False)
    started: list[int] = []
    try:
        with trio.fail_after(60):
            first = make_spec(tmp_path / "0", f"{HUB}-0", kind="echo")
            await trio.to_thread.run_sync(fork_server.start_hub, first)
            await until((tmp_path / "begun").exists)
            monkeypatch.setattr("actors.hubs.fork_server.ANSWER_S", 0.0)
            monkeypatch.setattr("actors.hubs.fork_server.select", SimpleNamespace(select=select_noting))
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def start() -> None:
                    second = make_spec(tmp_path / "1", f"{HUB}-1", kind="echo")
                    started.append(await trio.to_thread.run_sync(fork_server.start_hub, second))

                await until(waits.is_set)
                monkeypatch.setattr("actors.hubs.fork_server.ANSWER_S", 60.0)
                (tmp_path / "goes-on").write_bytes(b"")
            assert started
    finally:
        for number in range(2):
            kill_tree(f"{HUB}-{number}")
        with trio.move_on_after(30, shield=True):
            await trio.to_thread.run_sync(fork_server.close)


async def test_modules_are_given_up_once_no_hub_lives(server: Server) -> None:
    pytest.importorskip("claude_agent_sdk")
    with trio.fail_after(60):
        pid = server.start(0, "claude")
        await until(lambda: has_sdk(server.process.pid))
        kill_tree(f"{HUB}-0")
        await until_dead(pid)
        await until(lambda: not has_sdk(server.process.pid))
        assert not has_sdk(server.start(1, "echo"))
