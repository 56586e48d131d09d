"""Who writes a thread of Codex, by real processes that hold its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridgehub.desk.live import codex_live
from bridgehub.desk.live.codex_live import CodexWriters, live_threads
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


TAKES = """
import fcntl, sys
for _ in sys.stdin:
    lock = open(sys.argv[1])
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
    lock.close()
    print("free", flush=True)
"""


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="the system does not list its locks")
def test_the_list_of_all_locks_is_read_once_for_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "thread-writer-locks" / f"{uid(1)}.lock"
    lock.parent.mkdir()
    lock.touch()
    writers = CodexWriters(tmp_path)
    assert writers.of(uid(2)) is writers.of(uid(1)) is None
    command = [sys.executable, "-I", "-c", TAKES, str(lock)]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env={"HOME": "/"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def next_state(program: subprocess.Popen[bytes]) -> bytes:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b"\n")
        program.stdin.flush()
        return program.stdout.readline()

    def pid() -> int | None:
        found = writers.of(uid(1))
        return None if found is None else found.pid

    with start() as one, start() as other:
        for program in (one, other):
            assert next_state(program) == b"held\n"
            assert pid() == program.pid
            with monkeypatch.context() as patch:
                patch.setattr(codex_live, "_LOCKS", tmp_path / "unread")
                assert pid() == program.pid
            assert next_state(program) == b"free\n"
            assert pid() is None
        for program in (one, other):
            program.kill()
