"""Whatever dies in the middle, git or the process that started it, no state is lost, made up, or written by half."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from bridgehub.workspace.git import GitFailed
from bridgehub.workspace.prune import forget_session
from bridgehub.workspace.store import CheckpointStore, NoCheckpoint
from bridgehub.workspace.take import Limits, TooMuch, take
from bridgehub.workspace.undo import NothingToUndo, carry_out, plan_undo
from tests.support.server import ROOT

LIMITS = Limits(first_s=60, later_s=60)
LONG = "".join(f"{number}\n" for number in range(5000))

PATH = os.environ["PATH"]

GIT = """#!/bin/sh
count=$(($(cat "$COUNT") + 1))
echo $count > "$COUNT"
if [ $count = "$AT" ]; then
  case $HOW in
    before) kill -9 $$ ;;
    after) "$REAL" "$@"; kill -9 $$ ;;
    starter) kill -9 $PPID ;;
  esac
fi
exec "$REAL" "$@"
"""

TAKES = """
import sys
from bridgehub.workspace.store import CheckpointStore
from bridgehub.workspace.take import Limits, take
take(CheckpointStore.of(*sys.argv[1:3]), "s", sys.argv[3], {}, Limits(60, 60))
"""

WRITES = """
import sys
from bridgehub.workspace import commits
from bridgehub.workspace.store import CheckpointStore
from bridgehub.workspace.take import Limits, take
import os
left, real = int(sys.argv[4]), {name: getattr(os, name) for name in ("mkdir", "open", "rename")}
def counted(name):
    def call(*arguments, **more):
        global left
        if "checkpoints" in os.fspath(arguments[0]):
            left -= 1
            if not left:
                os.kill(os.getpid(), 9)
        return real[name](*arguments, **more)
    return call
write = commits.CommitWriter.write
def write_and_die(*arguments):
    for name in real:
        setattr(os, name, counted(name))
    write(*arguments)
    for name, one in real.items():
        setattr(os, name, one)
commits.CommitWriter.write = write_and_die
take(CheckpointStore.of(*sys.argv[1:3]), "s", sys.argv[3], {}, Limits(60, 60))
"""

UNDOES = """
import os, sys
from bridgehub.workspace.store import CheckpointStore
from bridgehub.workspace.undo import carry_out
left, replace = int(sys.argv[4]), os.replace
def last(*paths, **more):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), 9)
    replace(*paths, **more)
os.replace = last
carry_out(CheckpointStore.of(*sys.argv[1:3]), "s", sys.argv[3])
"""


def blob_name(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@attrs.frozen
class Deadly:
    """A workspace, its store, and a `git` that kills at the call `at`: itself before or after its work, or who
    started it."""

    place: Path
    patch: pytest.MonkeyPatch

    @property
    def workspace(self) -> Path:
        return self.place / "w"

    @property
    def stores(self) -> Path:
        return self.place / "checkpoints"

    @property
    def store(self) -> CheckpointStore:
        return CheckpointStore.of(str(self.stores), str(self.workspace))

    def kill(self, at: int, how: str) -> None:
        (self.place / "count").write_text("0")
        self.patch.setenv("AT", str(at))
        self.patch.setenv("HOW", how)
        self.patch.setenv("PATH", f"{self.place / 'bin'}:{PATH}" if at else PATH)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.workspace / name).write_text(text)

    def take(self, name: str) -> None:
        take(self.store, "s", name, {}, LIMITS)

    def holds(self, name: str, files: dict[str, str]) -> bool:
        """Tell whether a checkpoint holds exactly these files. Raises NoCheckpoint."""
        tree = self.store.find("s", name).tree
        listed = self.store.git("ls-tree", "-r", "-z", tree).decode().split("\0")[:-1]
        blobs = {path: meta.split(" ")[2] for meta, _, path in (line.partition("\t") for line in listed)}
        return blobs == {path: blob_name(text.encode()) for path, text in files.items()}

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.workspace.iterdir() if path.is_file()}

    def run(self, program: str, *arguments: str) -> int:
        """Run a program in a process of its own; return its status."""
        command = [sys.executable, "-c", program, str(self.stores), str(self.workspace), *arguments]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deadly:
    """A repository with a checkpoint `c0` of it."""
    made = Deadly(tmp_path, monkeypatch)
    made.workspace.mkdir()
    made.write(**{"a.txt": "one\n", "b.txt": LONG})
    subprocess.run(["git", "init", "-q", str(made.workspace)], check=True)
    subprocess.run(["git", "-C", str(made.workspace), "add", "a.txt"], check=True)
    real = shutil.which("git")
    assert real
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "git"
    program.write_text(GIT)
    program.chmod(0o755)
    monkeypatch.setenv("REAL", real)
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    made.kill(0, "")
    made.take("c0")
    return made


def check(deadly: Deadly, name: str, kept: dict[str, dict[str, str]]) -> None:
    """Hold the store to what is certain: `name` is there whole or not at all, older ones and the next one are right."""
    deadly.kill(0, "")
    now = deadly.files()
    try:
        assert deadly.holds(name, now)
    except NoCheckpoint:
        pass
    else:
        kept[name] = now
    deadly.take(f"{name}n")
    kept[f"{name}n"] = now
    assert deadly.holds(f"{name}n", now)


@pytest.mark.parametrize("how", ["before", "after", "starter"])
def test_a_checkpoint_during_which_git_or_its_starter_dies(deadly: Deadly, how: str) -> None:
    kept = {"c0": deadly.files()}
    for number in range(1, 20):
        deadly.write(**{"a.txt": f"{number}\n", f"new{number}.txt": "x\n"})
        deadly.kill(number, how)
        if how == "starter":
            ended = deadly.run(TAKES, f"k{number}") == 0
        else:
            ended = True
            try:
                deadly.take(f"k{number}")
            except (GitFailed, TooMuch):
                ended = False
        reached = int((deadly.place / "count").read_text()) >= number
        check(deadly, f"k{number}", kept)
        assert not ended or f"k{number}" in kept
        if not reached:
            break
    else:
        pytest.fail("a checkpoint takes few calls of git")
    assert number > 3
    for name, files in kept.items():
        assert deadly.holds(name, files), name
    deadly.take("end")
    assert not list(deadly.store.folder.glob("index.*"))


def test_a_process_that_dies_while_it_writes_the_commit(deadly: Deadly) -> None:
    kept = {"c0": deadly.files()}
    for number in range(1, 20):
        deadly.write(**{"a.txt": f"{number}\n"})
        status = deadly.run(WRITES, f"k{number}", str(number))
        check(deadly, f"k{number}", kept)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert 4 < number < 19
    for name, files in kept.items():
        assert deadly.holds(name, files), name
    deadly.store.git("fsck", "--strict")


def undo_of(deadly: Deadly) -> tuple[dict[str, str], dict[str, str]]:
    """Plan the undo `u` of a change of many files; return the files before it and how they must become."""
    wanted = deadly.files()
    deadly.write(**{"a.txt": "agent\n", "b.txt": LONG.replace("7", "seven"), "d.txt": "new\n"})
    deadly.take("c1")
    plan_undo(deadly.store, "s", "u", "c0", "c1")
    return deadly.files(), wanted


@pytest.mark.parametrize(("how", "first"), [("starter", 3), ("replace", 1)])
def test_an_undo_whose_process_dies_is_finished_by_the_next_one(deadly: Deadly, how: str, first: int) -> None:
    for number in range(first, 20):
        before, wanted = undo_of(deadly)
        deadly.kill(number if how == "starter" else 0, how)
        status = deadly.run(UNDOES, "u", str(number if how == "replace" else 0))
        deadly.kill(0, "")
        for name, text in deadly.files().items():
            assert name.startswith(".builderos-u-") or text in (before.get(name), wanted.get(name)), name
        done = carry_out(deadly.store, "s", "u")
        assert deadly.files() == wanted
        assert (set(done.files), done.conflicts) == ({"a.txt", "b.txt", "d.txt"}, ())
        if status == 0:
            break
        assert status == -signal.SIGKILL
    else:
        pytest.fail("an undo takes few steps")
    assert number > first + 1


def test_what_a_killed_undo_was_writing_is_removed(deadly: Deadly) -> None:
    undo_of(deadly)
    assert deadly.run(UNDOES, "u", "1") == -signal.SIGKILL
    assert list(deadly.workspace.glob(".builderos-*"))
    deadly.write(**{"a.txt": "person\n", "b.txt": "person\n"})
    done = carry_out(deadly.store, "s", "u")
    assert done.conflicts == ("a.txt", "b.txt")
    assert deadly.files() == {"a.txt": "person\n", "b.txt": "person\n"}


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow over `size` bytes, in this process and those that it starts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_gives_no_old_tree_and_leaves_no_half_file(deadly: Deadly) -> None:
    deadly.write(**{"a.txt": "two\n"})
    for size in (0, 1, 60, 200):
        with full_disk(size), pytest.raises((GitFailed, OSError)):
            deadly.take("full")
        with pytest.raises(NoCheckpoint):
            deadly.store.find("s", "full")
    check(deadly, "full", {"c0": {"a.txt": "one\n", "b.txt": LONG}})
    before, _ = undo_of(deadly)
    with full_disk(1000):
        done = carry_out(deadly.store, "s", "u")
    assert done.conflicts == ("b.txt",)
    assert deadly.files() == {"a.txt": "one\n", "b.txt": before["b.txt"]}
    with pytest.raises(NothingToUndo):
        plan_undo(deadly.store, "s", "u2", "c1", "c1")


def test_a_large_binary_is_named_and_not_read(deadly: Deadly) -> None:
    with (deadly.workspace / "disk.img").open("wb") as file:
        file.truncate(1 << 30)
    deadly.take("c1")
    assert deadly.store.find("s", "c1").left_out == {b"disk.img": "big"}
    assert deadly.holds("c1", {"a.txt": "one\n", "b.txt": LONG})


def test_an_undo_beside_a_checkpoint_plans_nothing_but_its_own(
    deadly: Deadly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint removes every index that is left over; an undo's must not be among them."""
    real = CheckpointStore.git

    def git(store: CheckpointStore, *arguments: str, **more: object) -> bytes:
        output = real(store, *arguments, **more)  # type: ignore[arg-type]
        if arguments[0] == "read-tree" and "index.undo" in str(more.get("index")):
            with pytest.raises(Exception, match=str(store.workspace)):
                take(store, "s", "beside", {}, Limits(first_s=60, later_s=0))
        return output

    monkeypatch.setattr(CheckpointStore, "git", git)
    _, wanted = undo_of(deadly)
    carry_out(deadly.store, "s", "u")
    assert deadly.files() == wanted


def test_a_lock_of_a_killed_git_does_not_stop_checkpoints(deadly: Deadly) -> None:
    take(deadly.store, "other", "c1", {}, LIMITS)
    (deadly.store.folder / "packed-refs.lock").touch()
    assert forget_session(deadly.stores, "s") == 1
    assert deadly.store.names("other") == {"c1"}


def test_a_file_that_changes_while_read_is_right_the_next_time(deadly: Deadly) -> None:
    over, written = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not over.is_set():
            number += 1
            deadly.write(**{"a.txt": f"{number:09}\n" * 1000})  # always as long
            written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("c1", "c2"):
            assert written.wait(20)
            deadly.take(name)
            written.clear()
    finally:
        over.set()
        writer.join()
    deadly.take("c3")
    assert deadly.holds("c3", deadly.files())
