"""Which Claude Code runs: only one that lives, is the person's own, and is none of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bridgehub.desk.live.claude_live import live_programs
from bridgehub.desk.live.processes import end_politely, started_at
from bridgehub.protocol.process_tree import MARKER
from tests.bridgehub.desk.transcripts import uid

ONE = uid(7)


def entry(config: Path, pid: int, started: str, **more: Any) -> None:
    (config / "sessions").mkdir(exist_ok=True)
    row = {"pid": pid, "sessionId": ONE, "procStart": started, "startedAt": 5, "entrypoint": "cli", **more}
    (config / "sessions" / f"{pid}.json").write_text(json.dumps(row))


def test_living_program_is_found_with_its_state(tmp_path: Path) -> None:
    entry(tmp_path, os.getpid(), started_at(os.getpid()), status="busy")
    found = live_programs(tmp_path)[ONE]
    assert (found.pid, found.status, found.since_ms) == (os.getpid(), "busy", 5)
    entry(tmp_path, os.getpid(), started_at(os.getpid()), status="busy", entrypoint="builderos")
    assert live_programs(tmp_path) == {}
    entry(tmp_path, os.getpid(), "1")  # the entry of an earlier process with this id
    assert live_programs(tmp_path) == {}


def test_odd_entries_are_left_out(tmp_path: Path) -> None:
    entry(tmp_path, os.getpid(), started_at(os.getpid()), sessionId="../../x")
    (tmp_path / "sessions" / "1.json").write_bytes(b"\xff")
    (tmp_path / "sessions" / "x.json").write_text("{}")
    os.mkfifo(tmp_path / "sessions" / "2.json")
    assert live_programs(tmp_path) == {}


def test_only_exactly_that_process_is_ended_and_none_of_ours() -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as desk:
        assert desk.stdout is not None
        assert desk.stdout.readline() == b"up\n", "before that it may have no environment yet"
        assert not end_politely(desk.pid, "1")
        assert end_politely(desk.pid, started_at(desk.pid))
        assert desk.wait(10) == -15
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, MARKER: "hub"}) as ours:
        assert not end_politely(ours.pid, started_at(ours.pid))
        ours.kill()


def test_a_process_whose_environment_cannot_be_seen_is_not_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={}) as bare:
        assert not end_politely(bare.pid, started_at(bare.pid))
        bare.kill()
