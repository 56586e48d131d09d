"""The fork server imports what a hub of its kind needed, for the hubs after it, and gives it up again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import orjson
import pytest
import trio

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
        return int(orjson.loads(self.process.stdout.readline())["pid"])


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


async def test_modules_are_given_up_once_no_hub_lives(server: Server) -> None:
    pytest.importorskip("claude_agent_sdk")
    with trio.fail_after(60):
        pid = server.start(0, "claude")
        await until(lambda: has_sdk(server.process.pid))
        kill_tree(f"{HUB}-0")
        await until_dead(pid)
        await until(lambda: not has_sdk(server.process.pid))
        assert not has_sdk(server.start(1, "echo"))
