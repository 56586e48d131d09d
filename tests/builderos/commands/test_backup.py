"""`builderos backup` and `restore`: one file holds all that lasts, and a restore is all of it or nothing."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from builderos.commands.backup import run_backup, run_restore
from builderos.commands.verify import run_verify
from storage.sqlite.commit_mark import MARK_NAME
from tests.builderos.commands.backups import NOW_MS, acts_of, copied, make, sessions, whole
from tests.builderos.commands.test_import_ import rows
from tests.builderos.spoilers import SPOILERS
from tests.support.server import ROOT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("made")
    data, file = place / "data", place / "saved.tar"
    make(data, place, "one", "hello")
    (data / "api-key").write_text("k" * 64 + "\n")
    assert run_backup(file, data, now_ms=NOW_MS) == 0
    make(data, place, "two", "later")
    return file, data


@pytest.fixture
def saved(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """A backup of a folder with the session `one`, and the folder, which has a session `two` since."""
    return copied(*made, tmp_path)


def test_what_was_there_is_kept_and_can_be_had_back(
    saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    assert run_restore(file, data, now_ms=NOW_MS) == 0
    assert sessions(data) == [("one", 2)]
    (aside,) = data.glob("builderos.db.before-restore-*")
    assert str(aside) in capsys.readouterr().out
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert run_restore(aside, data, now_ms=NOW_MS + 1000) == 0
    assert sessions(data) == [("one", 3), ("two", NOW_MS // 1000 + 1)]
    assert not (data / "restore").exists()


ADD_DEVICE = (
    "INSERT INTO device (id, name, scope, key_hash, created_at_ms) VALUES (?, 'n', 'drive', x'00', 1)"
)


def test_revoked_devices_stay_revoked_and_the_key_stays(saved: tuple[Path, Path]) -> None:
    file, data = saved
    with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
        connection.execute(ADD_DEVICE, ("gone",))
        connection.execute(ADD_DEVICE, ("stays",))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS pairing (code_hash BLOB PRIMARY KEY, name TEXT, scope TEXT NOT NULL, "
            "made_by TEXT NOT NULL, expires_at_ms INTEGER NOT NULL)"
        )
        connection.execute("INSERT INTO pairing VALUES (x'01', 'n', 'admin', 'stays', 9000000000000)")
    assert run_backup(file, data, now_ms=NOW_MS) == 0
    with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
        connection.execute("UPDATE device SET revoked_at_ms = 7 WHERE id = 'gone'")
    (data / "api-key").write_text("n" * 64 + "\n")
    assert run_restore(file, data, now_ms=NOW_MS) == 0
    found = rows(data, "SELECT id, revoked_at_ms FROM device WHERE scope = 'drive' ORDER BY id")
    assert found == [("gone", 7), ("stays", None)]
    assert rows(data, "SELECT count(*) FROM pairing") == [(0,)], "a code is good once"
    assert (data / "api-key").read_text() == "n" * 64 + "\n"


@pytest.mark.parametrize(
    "spoil",
    SPOILERS,
    ids=lambda spoil: spoil.__name__,
)
def test_a_file_that_cannot_be_restored_changes_nothing(
    saved: tuple[Path, Path], spoil: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    capsys.readouterr()
    before = whole(data)
    spoil(file)
    assert run_restore(file, data, now_ms=NOW_MS) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert str(file) in told.err
    assert whole(data) == before
    nowhere = data.parent / "nowhere"
    assert run_restore(file, nowhere, now_ms=NOW_MS) == 1
    assert not nowhere.exists()


def test_a_damaged_database_is_kept_as_it_is_and_replaced(saved: tuple[Path, Path]) -> None:
    file, data = saved
    broken = b"no database" * 1000
    (data / "builderos.db").write_bytes(broken)
    (data / "builderos.db-wal").write_bytes(b"its log")
    assert run_restore(file, data, now_ms=NOW_MS) == 0
    assert sessions(data) == [("one", NOW_MS // 1000)]
    kept = sorted(path for path in data.glob("builderos.db.before-restore-*"))
    assert [path.read_bytes() for path in kept] == [broken, b"its log"]


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM session").fetchall()
print("open", flush=True)
sys.stdin.read()
"""
"""A person's `sqlite3`, which looks at the database until its input ends."""


def test_a_restore_needs_a_folder_that_nobody_has_open(
    saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    with (data / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_restore(file, data, now_ms=NOW_MS) == 1
        assert "is in use by" in capsys.readouterr().err
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data / "builderos.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        assert run_restore(file, data, now_ms=NOW_MS) == 1
        holder.communicate()
    assert "another program has it open" in capsys.readouterr().err
    assert [one for one, _ in sessions(data)] == ["one", "two"]
    assert list(data.glob("*before-restore*")) == []


@pytest.mark.parametrize("where", ["nowhere/saved.tar", "", "data/lock/saved.tar"])
def test_a_backup_that_cannot_be_written(
    saved: tuple[Path, Path], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = saved
    capsys.readouterr()
    assert run_backup(data.parent / where, data, now_ms=NOW_MS) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert list(data.parent.rglob("*.partial")) == []


@pytest.mark.parametrize(
    "where", ["data/builderos.db", "data/api-key", "data/uploads/x", "link/builderos.db"]
)
def test_a_backup_does_not_take_the_place_of_what_it_saves(
    saved: tuple[Path, Path], where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = saved
    (data.parent / "link").symlink_to(data)
    before = whole(data)
    capsys.readouterr()
    assert run_backup(data.parent / where, data, now_ms=NOW_MS) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "of the data folder itself" in told.err
    assert whole(data) == before
    assert run_backup(data / "saved.tar", data, now_ms=NOW_MS) == 0, "a file of its own may lie there"


def test_a_failed_backup_leaves_the_earlier_one(
    saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    earlier = file.read_bytes()
    assert run_backup(file, data.parent / "nowhere", now_ms=NOW_MS) == 1
    assert not (data.parent / "nowhere").exists()
    content = bytearray((data / "builderos.db").read_bytes())
    content[4096 * 3 : 4096 * 9] = os.urandom(4096 * 6)
    (data / "builderos.db").write_bytes(content)
    assert run_backup(file, data, now_ms=NOW_MS) == 1
    assert file.read_bytes() == earlier
    assert sorted(path.name for path in file.parent.glob("saved*")) == ["saved.tar"]
    assert capsys.readouterr().err.count("\n") == 2


KILLER = """
import os, signal, sys
from pathlib import Path
import builderos.commands.backup as command
deadly, step, renamed = int(sys.argv[1]), 0, 0
def watch(event, args):
    global step, renamed
    if event in ("open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree"):
        step += 1
        renamed = step if event == "os.rename" else renamed
        if step == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
run = command.run_backup if sys.argv[2] == "backup" else command.run_restore
code = run(Path(sys.argv[3]), Path(sys.argv[4]), now_ms=1_790_000_000_000)
print(renamed)
sys.exit(code)
"""
"""Runs a command and dies before its N-th act on a file; else prints which of them was the last rename."""


def killed_at(step: int, which: str, file: Path, data: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(step), which, str(file), str(data)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout.decode().splitlines()[-1] if done.stdout else ""


@pytest.mark.parametrize("which", ["backup", "restore"])
def test_a_kill_in_the_middle_leaves_the_old_or_the_new(
    saved: tuple[Path, Path], which: str, tmp_path: Path
) -> None:
    file, data = saved
    code, told = killed_at(0, which, *copied(file, data, tmp_path / "count"))
    assert code == 0
    last = int(told)
    assert last > 6
    for step in (last // 3, last * 2 // 3, last, last + 1):
        its_file, its_data = copied(file, data, tmp_path / str(step))
        code, _ = killed_at(step, which, its_file, its_data)
        assert code == -signal.SIGKILL
        if which == "restore":
            assert sessions(its_data) == ([("one", 1), ("two", 1)] if step <= last else [("one", 2)])
        assert run_restore(its_file, its_data, now_ms=NOW_MS + 5000) == 0  # the file is whole
        assert not (its_data / "restore").exists()
        found = [one for one, _ in sessions(its_data)]
        assert found == (["one", "two"] if which == "backup" and step > last else ["one"])


def test_a_restore_is_in_the_audit_and_the_chain_holds(saved: tuple[Path, Path], tmp_path: Path) -> None:
    file, data = saved
    (data / MARK_NAME).write_text("999999\n")
    for target in (data, tmp_path / "fresh"):
        assert run_restore(file, target, now_ms=NOW_MS) == 0
        assert not (target / MARK_NAME).exists(), "an older database is no loss"
        assert run_verify(target) == 0
        assert trio.run(acts_of, target) == ["restored"]
        assert (target / "audit-head").stat().st_mode & 0o777 == 0o600


def test_a_restore_keeps_revocations_unknown_to_the_backup(
    saved: tuple[Path, Path],
) -> None:
    early, data = saved
    late = early.with_name("late.tar")
    with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
        connection.execute(ADD_DEVICE, ("lost",))
    assert run_backup(late, data, now_ms=NOW_MS) == 0
    with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
        connection.execute("UPDATE device SET revoked_at_ms = 7 WHERE id = 'lost'")
    assert run_restore(early, data, now_ms=NOW_MS) == 0
    assert run_restore(late, data, now_ms=NOW_MS + 1000) == 0
    assert rows(data, "SELECT revoked_at_ms FROM device WHERE id = 'lost'") == [(7,)]


@pytest.mark.parametrize("present", ["none", "damaged", "knows", "knows not"])
def test_a_restore_names_the_keys_that_it_makes_good(
    saved: tuple[Path, Path], present: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
        connection.execute(ADD_DEVICE, ("lost",))
    assert run_backup(file, data, now_ms=NOW_MS) == 0
    if present == "none":
        data = data.parent / "new"
    elif present == "damaged":
        (data / "builderos.db").write_bytes(b"no database" * 1000)
    elif present == "knows not":
        with closing(sqlite3.connect(data / "builderos.db")) as connection, connection:
            connection.execute("DELETE FROM device WHERE id = 'lost'")
    capsys.readouterr()
    assert run_restore(file, data, now_ms=NOW_MS) == 0
    told = capsys.readouterr().out
    restored = "SELECT subject FROM audit WHERE act = 'device_restored'"
    if present == "knows":
        assert "lost" not in told
        assert rows(data, restored) == []
    else:
        assert "n (lost, drive)" in told
        assert "builderos devices revoke" in told
        assert rows(data, restored) == [("lost",)]


def test_a_key_file_that_was_removed_does_not_come_back(
    saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, data = saved
    (data / "api-key").write_text("k" * 64 + "\n")
    assert run_backup(file, data, now_ms=NOW_MS) == 0
    (data / "api-key").unlink()
    assert run_restore(file, data, now_ms=NOW_MS) == 0
    assert not (data / "api-key").exists()
    assert "new key for the first device" in capsys.readouterr().out
    new = data.parent / "new"
    assert run_restore(file, new, now_ms=NOW_MS) == 0
    assert (new / "api-key").read_text() == "k" * 64 + "\n"
