"""The list of Codex's sessions, one whole, and what was added to it; who has a thread open."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from bridgehub.desk.codex_files import CodexFiles
from bridgehub.desk.live.codex_live import CodexWriters, live_threads
from bridgehub.desk.looking import look_at_codex
from bridgehub.desk.records import Began, Ended, Said, ToolCalled
from bridgehub.desk.turns import Turns
from tests.bridgehub.desk.transcripts import rollout, uid

ONE = uid(1 << 100)


def test_list_and_history_of_a_rollout(tmp_path: Path) -> None:
    path = rollout(tmp_path, ONE, ("plan a trip", "Where to?"), ("to the sea", "Nice."))
    rollout(tmp_path, uid(2), ("x", "y")).write_bytes(b"no rollout\n")
    files = CodexFiles(tmp_path)
    sessions, unreadable = files.sessions()
    assert [(one.native_id, one.title, one.workspace, one.message_count) for one in sessions] == [
        (ONE, "plan a trip", "/work/trip", 4)
    ]
    assert unreadable == 1
    rows, is_cut = files.history(str(path), path.stat().st_size, messages=100, size=1 << 20)
    events = list(Turns().all(rows))
    assert [one.text for one in events if isinstance(one, Began | Said)] == [
        "plan a trip",
        "Where to?",
        "to the sea",
        "Nice.",
    ]
    assert [one.input for one in events if isinstance(one, ToolCalled)] == [{"command": "ls"}] * 2
    assert not is_cut
    assert files.history(str(path), path.stat().st_size, messages=1, size=1 << 20)[1]


def test_each_row_of_a_history_counts_beside_its_text(tmp_path: Path) -> None:
    path = rollout(tmp_path, ONE, *((f"q{n}", "a") for n in range(50)))
    size = path.stat().st_size
    _, is_cut = CodexFiles(tmp_path).history(str(path), size, messages=100, size=size)
    assert is_cut, "a call of a tool costs more memory than its row has letters"


def test_look_leaves_turns_out_that_began_here(tmp_path: Path) -> None:
    path = rollout(tmp_path, ONE, ("from the phone", "Hi."), ours=True)
    files = CodexFiles(tmp_path)
    first = look_at_codex(files, CodexWriters(tmp_path), ONE, None, is_open=False)
    assert first.events == ()
    more = rollout(tmp_path / "other", ONE, ("from the desk", "Hello."))
    path.write_bytes(path.read_bytes() + more.read_bytes().partition(b"\n")[2])
    second = look_at_codex(files, CodexWriters(tmp_path), ONE, first.mark, is_open=False)
    assert [type(one) for one in second.events][:1] == [Began]
    assert isinstance(second.events[-1], Ended)


def test_writer_lock_tells_who_has_a_thread_open(tmp_path: Path) -> None:
    folder = tmp_path / "thread-writer-locks"
    folder.mkdir()
    (folder / f"{ONE}.lock").touch()
    assert live_threads(tmp_path) == {}
    with (folder / f"{ONE}.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = live_threads(tmp_path)[ONE]
    assert (found.program, found.pid) == ("codex", os.getpid())
    assert live_threads(tmp_path) == {}


def test_rows_of_any_shape_are_left_out(tmp_path: Path) -> None:
    path = rollout(tmp_path, ONE, ("plan", "ok"))
    items: list[object] = [None, 5, {}, []]
    odd = [{"type": "event_msg", "payload": {"type": "item_completed", "item": one}} for one in items]
    odd += [
        {"type": "event_msg", "payload": {"type": "item_completed", "item": {"type": kind, "content": 7}}}
        for kind in ("UserMessage", "AgentMessage", "CommandExecution", "FileChange", "Reasoning", "New")
    ]
    path.write_bytes(
        path.read_bytes() + b"".join(json.dumps(one).encode() + b"\n" for one in odd) + b"\xff\n"
    )
    files = CodexFiles(tmp_path)
    assert len(files.sessions()[0]) == 1
    rows, _ = files.history(str(path), path.stat().st_size, messages=100, size=1 << 20)
    assert list(Turns().all(rows))[-1].at_ms >= 0


def test_the_newest_name_of_a_thread_is_its_title(tmp_path: Path) -> None:
    rollout(tmp_path, ONE, ("hello", "hi"))
    files = CodexFiles(tmp_path)
    index = tmp_path / "session_index.jsonl"
    index.write_text(
        "".join(f'{{"id":"{ONE}","thread_name":"{name}"}}\n' for name in ("First", "Second")) + "{broken\n"
    )
    assert [one.title for one in files.sessions()[0]] == ["Second"]
    with index.open("a") as file:
        file.write(f'{{"id":"{ONE}","thread_name":"Third"}}\n')
    first = look_at_codex(files, CodexWriters(tmp_path), ONE, None, is_open=False)
    assert (first.title, first.mark and first.mark.title) == ("", "Third"), (
        "the first look does not report an old name"
    )
