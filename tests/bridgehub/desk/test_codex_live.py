"""Who writes a thread of Codex, by real processes that hold its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridgehub.desk.live.codex_live import live_threads
from bridgehub.protocol.process_tree import MARKER
from tests.bridgehub.desk.transcripts import uid

HOLDS = """
import fcntl, sys
lock = open(sys.argv[1])
fcntl.flock(lock, fcntl.LOCK_EX)
memory = bytearray(b"x") * (200 << 20)
print("held", flush=True)
input()
"""
"""So much memory takes the system a while to take back, and a lock is let go after that."""


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the system does not list its locks")
@pytest.mark.parametrize("is_ours", [False, True])
def test_a_program_that_is_ending_has_no_thread_open(tmp_path: Path, is_ours: bool) -> None:
    lock = tmp_path / "thread-writer-locks" / f"{uid(1)}.lock"
    lock.parent.mkdir()
    lock.touch()
    env = {MARKER: "hub"} if is_ours else {"HOME": "/"}
    command = [sys.executable, "-I", "-c", HOLDS, str(lock)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"held\n"
        found = live_threads(tmp_path)
        assert [one.pid for one in found.values()] == ([] if is_ours else [program.pid])
        program.kill()
        while program.poll() is None:
            assert live_threads(tmp_path) == {} or not is_ours
    assert live_threads(tmp_path) == {}
