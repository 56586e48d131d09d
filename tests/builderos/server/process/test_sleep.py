"""The command that puts the machine to sleep."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import trio

from builderos.server.process.sleep import SleepCommand


@pytest.mark.parametrize(
    ("command", "worked"),
    [(["true"], True), (["false"], False), (["/no/such/program"], False), (["a\0b"], False)],
)
async def test_a_sleep_command(command: list[str], worked: bool) -> None:
    with trio.fail_after(20):
        assert await SleepCommand(command, {"PATH": os.environ["PATH"]}).run() is worked


async def test_a_sleep_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builderos.server.process.sleep.LIMIT_S", 0.5)
    note = tmp_path / "pids"
    script = f"trap '' TERM; sleep 60 & echo $$ $! > {note}; wait"
    with trio.fail_after(20):
        assert not await SleepCommand(["sh", "-c", script], {"PATH": os.environ["PATH"]}).run()
    pids = [int(word) for word in note.read_text().split()]
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
