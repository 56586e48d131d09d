"""`builderos import`: all files or none, everything once, and the live session continues."""

from __future__ import annotations

import fcntl
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from builderos.commands.import_ import ImportOptions, run_import
from builderos.legacy.report import PROGRESS_S, Progress
from tests.builderos.old_server import said, write_old
from tests.builderos.terminal import run_command
from tests.e2e.shared_server import all_events, open_http, story_of
from tests.support.server import ROOT, Server, open_server

TALK = [
    said(0, "user", "hello"),
    said(1, "assistant", "hi there"),
    said(5, "user", "bye"),
    said(6, "assistant", "so long"),
]


def options(data: Path, *files: Path, dry_run: bool = False, zone: str | None = "UTC") -> ImportOptions:
    return ImportOptions(files=files, data=data, workspace=data.parent, zone=zone, dry_run=dry_run)


def rows(data: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(data / "builderos.db")) as connection:
        return connection.execute(sql).fetchall()


def kinds(data: Path) -> list[tuple[str, int]]:
    return rows(data, "SELECT kind, count(*) FROM journal GROUP BY kind ORDER BY kind")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_again_adds_nothing_and_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "data", write_old(tmp_path / "a.db", {"trip": TALK, "empty": []})
    assert run_import(options(data, file)) == 0
    assert "Imported 4 messages and 2 new sessions of 2." in capsys.readouterr().out
    before = (kinds(data), rows(data, "SELECT session_id, epoch, head_seq, read_seq FROM session"))
    content = (data / "builderos.db").read_bytes()
    assert before[1] == [("empty", 1, 0, 0), ("trip", 1, 14, 14)]
    assert run_import(options(data, file, zone="Europe/Berlin")) == 0
    assert "4 messages were already imported." in capsys.readouterr().out
    assert (kinds(data), rows(data, "SELECT session_id, epoch, head_seq, read_seq FROM session")) == before
    assert len((data / "builderos.db").read_bytes()) == len(content)
    assert names(data) == {"blobs", "builderos.db", "hubs", "uploads", "lock"}
    assert (data / "builderos.db").stat().st_mode & 0o777 == 0o600


def test_two_files_are_one_union(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = write_old(tmp_path / "a.db", {"trip": TALK})
    between = [said(3, "user", "between"), said(4, "assistant", "yes")]
    right = write_old(tmp_path / "b.db", {"trip": [*TALK[:2], *between], "other": TALK[:1]})
    assert run_import(options(tmp_path / "data", left, right)) == 0
    assert "Imported 7 messages and 2 new sessions of 2." in capsys.readouterr().out
    found = rows(
        tmp_path / "data",
        "SELECT text FROM search JOIN journal ON commit_no = search.rowid"
        " WHERE journal.session_id = 'trip' ORDER BY journal.seq",
    )
    assert [text for (text,) in found] == ["hello", "hi there", "between", "yes", "bye", "so long"]


def test_a_dry_run_says_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = (
        tmp_path / "data",
        write_old(tmp_path / "a.db", {"trip": [*TALK, said(7, "assistant", "Error: x")]}),
    )
    assert run_import(options(data, file, dry_run=True)) == 0
    told = capsys.readouterr().out
    assert "trip  +5 messages, new, 1 error" in told
    assert "Would import 5 messages and 1 new session of 1." in told
    assert not data.exists()
    assert run_import(options(data, file)) == 0
    more = write_old(tmp_path / "b.db", {"trip": [*TALK, said(9, "user", "more")], "new": TALK})
    before, held = (data / "builderos.db").read_bytes(), names(data)
    capsys.readouterr()
    assert run_import(options(data, more, dry_run=True)) == 0
    told = capsys.readouterr().out
    assert "trip  +1 message, 4 known" in told
    assert "new  +4 messages, new" in told
    assert ((data / "builderos.db").read_bytes(), names(data)) == (before, held)


def test_a_bad_file_is_named_and_nothing_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "data", write_old(tmp_path / "a.db", {"trip": TALK})
    bad = tmp_path / "bad.db"
    bad.write_bytes(b"something else " * 1000)
    torn = write_old(tmp_path / "torn.db", {"good": TALK, "zzz": TALK})
    with closing(sqlite3.connect(torn)) as connection:
        connection.execute("UPDATE sessions SET data = 'no json' WHERE session_id = 'zzz'")
        connection.commit()
    assert run_import(options(data, write_old(tmp_path / "first.db", {"first": TALK}))) == 0
    before = (data / "builderos.db").read_bytes()
    for wrong in (bad, torn, tmp_path / "missing.db"):
        capsys.readouterr()
        assert run_import(options(data, file, wrong)) == 1
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1
        assert str(wrong) in told
        assert rows(data, "SELECT session_id FROM session") == [("first",)]
    assert len((data / "builderos.db").read_bytes()) == len(before)
    assert names(data) == {"blobs", "builderos.db", "hubs", "uploads", "lock"}


def test_an_unreadable_session_is_left_out_if_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    torn = write_old(tmp_path / "torn.db", {"good": TALK, "zzz": TALK})
    with closing(sqlite3.connect(torn)) as connection:
        connection.execute("UPDATE sessions SET data = substr(data, 1, 40) WHERE session_id = 'zzz'")
        connection.commit()
    assert run_import(options(data, torn)) == 1
    assert "--skip-bad" in capsys.readouterr().err
    assert run_import(attrs.evolve(options(data, torn), skip_bad=True)) == 0
    told = capsys.readouterr().out
    assert f"skipped: {torn}: the session 'zzz' cannot be read" in told
    assert rows(data, "SELECT session_id FROM session") == [("good",)]


def test_a_held_folder_and_a_wrong_zone_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file = tmp_path / "data", write_old(tmp_path / "a.db", {"trip": TALK})
    assert run_import(options(data, file, zone="Mars/Olympus")) == 2
    assert "Mars/Olympus" in capsys.readouterr().err
    data.mkdir()
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_import(options(data, file)) == 1
        assert "is in use by" in capsys.readouterr().err


def test_a_database_that_is_open_elsewhere_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert run_import(options(data, write_old(tmp_path / "a.db", {"trip": TALK}))) == 0
    reads = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM session').fetchone();"
    command = [
        sys.executable,
        "-c",
        f"{reads} print('open', flush=True); input()",
        str(data / "builderos.db"),
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        assert run_import(options(data, write_old(tmp_path / "b.db", {"next": TALK}))) == 1
        assert "another program has it open" in capsys.readouterr().err
        other.communicate("\n", timeout=10)
    assert rows(data, "SELECT session_id FROM session") == [("trip",)]


def test_a_session_that_is_busy_takes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    assert run_import(options(data, write_old(tmp_path / "a.db", {"trip": TALK[:2]}))) == 0
    with closing(sqlite3.connect(data / "builderos.db")) as connection:
        connection.execute("UPDATE summary SET unfinished = 1")
        connection.commit()
    assert run_import(options(data, write_old(tmp_path / "b.db", {"new": TALK, "trip": TALK}))) == 1
    assert "the session trip has a running turn" in capsys.readouterr().err
    assert rows(data, "SELECT session_id FROM session") == [("trip",)]


async def test_a_killed_import_leaves_everything_as_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert (
        await trio.to_thread.run_sync(run_import, options(data, write_old(tmp_path / "a.db", {"trip": TALK})))
        == 0
    )
    long = [said(number, "user", "word " * 100) for number in range(800)]
    file = write_old(tmp_path / "b.db", {f"s{number}": long for number in range(40)})
    command = [sys.executable, "-m", "builderos", "import", str(file), "--data", str(data)]
    with trio.fail_after(30):
        process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        wal = data / "import" / "builderos.db-wal"
        while not (wal.exists() and wal.stat().st_size > 1_000_000):  # noqa: ASYNC110 - a file of another process
            assert process.poll() is None
            await trio.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert rows(data, "SELECT session_id FROM session") == [("trip",)]
    assert await trio.to_thread.run_sync(run_import, options(data, file)) == 0
    assert rows(data, "SELECT count(*) FROM session") == [(41,)]
    assert not (data / "import").exists()


async def messages(http: httpx.AsyncClient, session_id: str) -> list[tuple[str, str, str]]:
    answer = await http.get(f"/api/sessions/{session_id}/messages", params={"limit": 500})
    assert answer.status_code == 200, answer.text
    return [(one["role"], one["content"], one["status"]) for one in answer.json()["messages"]]


async def import_into(server: Server, *files: Path) -> str:
    status, out, err = await run_command(server, "import", *map(str, files), "--zone", "UTC")
    assert status == 0, err
    return out


async def test_a_session_goes_on_and_what_comes_later_finds_its_place(tmp_path: Path) -> None:
    failed = [
        *TALK,
        said(7, "user", "lost"),
        said(8, "assistant", "Error: no relay"),
        said(9, "user", "alone"),
    ]
    first = write_old(tmp_path / "a.db", {"trip": failed}, agent="echo")
    async with open_server(tmp_path, start=False) as server:
        server.data.mkdir(mode=0o700)
        await import_into(server, first)
        await server.start()
        async with server.device() as device, open_http(server) as http:
            attached = await device.attach("trip", history=1000)
            assert (attached["epoch"], attached["agent_type"], attached["state"]) == (1, "echo", "idle")
            assert await messages(http, "trip") == [
                ("user", "hello", "answered"),
                ("assistant", "hi there", "complete"),
                ("user", "bye", "answered"),
                ("assistant", "so long", "complete"),
                ("user", "lost", "failed"),
                ("assistant", "Error: no relay", "error"),
                ("user", "alone", "failed"),
            ]
            end = await device.ask("trip", "new here")
            assert end["message_count"] == 9
            for text in ("/task look", "/words 40"):
                await device.ask("trip", text)
            old_after = device.after("trip")
            lived = turns_here(await all_events(http, "trip"))
        status, _, err = await run_command(server, "import", str(first))
        assert (status, len(err.splitlines())) == (1, 1)
        assert "is in use by process" in err
        assert await server.terminate() == 0
        assert "Imported 0 messages" in await import_into(server, first)

        between = [said(2, "user", "between"), said(3, "assistant", "found")]
        later = [said(10, "assistant", "late answer"), said(11, "user", "and one more")]
        second = write_old(
            tmp_path / "b.db", {"trip": [*failed[:2], *between, *failed[2:], *later]}, agent="echo"
        )
        assert "sorted by time" in await import_into(server, second)
        assert "Imported 0 messages" in await import_into(server, first, second)
        await server.start()
        async with server.device() as device, open_http(server) as http:
            attached = await device.attach("trip", after=old_after)
            assert (attached["epoch"], attached["replay"]) == (2, "snapshot")
            assert [content for _, content, _ in await messages(http, "trip")] == [
                "hello",
                "hi there",
                "between",
                "found",
                "bye",
                "so long",
                "lost",
                "Error: no relay",
                "alone",
                "late answer",
                "and one more",
                "new here",
                "echo: new here ",
                "/task look",
                "done",
                "/words 40",
                "".join(f"w{number} " for number in range(40)),
            ]
            events = await all_events(http, "trip")
            assert turns_here(events) == lived
            assert attached["read_seq"] < attached["head_seq"]
            assert story_of(events).covered == attached["head_seq"]
            assert await device.ask("trip", "still here")
            again = await device.send("trip", "new here", message_id=_id_of(events, "new here"))
            assert again["duplicate"] is True


def turns_here(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was lived on this server, less what only says where it stands."""
    places = {"seq", "first_seq", "epoch", "message_count"}
    here = [one for one in events if one["turn_id"] and not one["turn_id"].startswith("import-")]
    return [{name: value for name, value in one.items() if name not in places} for one in here]


def test_a_long_conversation_takes_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = datetime(2025, 11, 3)
    long = [
        {
            "role": ("user", "assistant")[number % 2],
            "content": f"message {number}",
            "timestamp": (start + timedelta(seconds=number)).isoformat(),
        }
        for number in range(20_000)
    ]
    file = write_old(tmp_path / "a.db", {"long": long})
    began = time.monotonic()
    assert run_import(options(tmp_path / "data", file)) == 0
    assert time.monotonic() - began < 30  # two or three where nothing else runs
    assert rows(
        tmp_path / "data", "SELECT head_seq, message_count FROM session JOIN summary USING (session_id)"
    ) == [(70_000, 20_000)]


def test_progress_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(3, told_at=-PROGRESS_S - 1)
    progress.tell(1, 20)
    progress.tell(2, 30)
    assert capsys.readouterr().out == "1 of 3 sessions, 20 messages\n"


def _id_of(events: list[dict[str, Any]], content: str) -> str:
    return str(
        next(
            one["message_id"] for one in events if one["type"] == "user_message" and one["content"] == content
        )
    )
