"""A small workspace in which nothing changed needs no call of git, and each change is found."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bridgehub.workspace import glance
from bridgehub.workspace.store import CheckpointStore
from bridgehub.workspace.take import Limits, take
from tests.bridgehub.workspace.calls import counting

LIMITS = Limits(first_s=60, later_s=60)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointStore:
    """A store of a small repository; a change counts as settled at once."""
    monkeypatch.setattr(glance, "SETTLED_NS", 0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    workspace = tmp_path / "w"
    for folder in (tmp_path / "home/.config/git", workspace / "src", workspace / "empty"):
        folder.mkdir(parents=True)
    for name in ("a.txt", "src/b.txt", "run.sh"):
        (workspace / name).write_text(f"{name}\n")
    (workspace / "link").symlink_to("a.txt")
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    made = CheckpointStore.of(str(tmp_path / "checkpoints"), str(workspace))
    take(made, "s", "first", {}, LIMITS)
    return made


def calls_of(store: CheckpointStore, name: str) -> list[str]:
    with counting() as calls:
        take(store, "s", name, {}, LIMITS)
    return calls


def test_nothing_changed_needs_no_call(store: CheckpointStore) -> None:
    assert [calls_of(store, name) for name in ("c1", "c2")] == [[], []]
    assert len({store.find("s", name).tree for name in ("first", "c1", "c2")}) == 1
    subprocess.run(["git", "-C", store.workspace, "add", "a.txt"], check=True)
    assert calls_of(store, "c3") == [], "the person's own index is not the workspace"


def _replace_folder(workspace: Path) -> None:
    (workspace / "src").rename(workspace.parent / "away")
    (workspace / "src").mkdir()
    (workspace / "src/b.txt").write_text("B.TXT!\n")


def _retarget(workspace: Path) -> None:
    (workspace / "link").unlink()
    (workspace / "link").symlink_to("b.txt")


def _keep_size_and_time(workspace: Path) -> None:
    told = (workspace / "a.txt").stat()
    (workspace / "a.txt").write_text("A.TXT\n")
    os.utime(workspace / "a.txt", ns=(told.st_atime_ns, told.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "written": lambda w: (w / "a.txt").write_text("else\n"),
    "same size and time": _keep_size_and_time,
    "new in an empty folder": lambda w: (w / "empty/new.txt").write_text("new\n"),
    "removed": lambda w: (w / "src/b.txt").unlink(),
    "renamed": lambda w: (w / "src/b.txt").rename(w / "src/c.txt"),
    "executable": lambda w: (w / "run.sh").chmod(0o755),
    "another target": _retarget,
    "another folder": _replace_folder,
    "ignored from now on": lambda w: (w / ".gitignore").write_text("nothing\n"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_is_found(store: CheckpointStore, what: str) -> None:
    assert calls_of(store, "c1") == []
    CHANGES[what](Path(store.workspace))
    assert "ls-files" in calls_of(store, "c2")
    assert store.find("s", "c2").tree != store.find("s", "c1").tree


@pytest.mark.parametrize("rules", [".config/git/ignore", "../w/.git/info/exclude"])
def test_a_rule_that_goes_is_found(store: CheckpointStore, tmp_path: Path, rules: str) -> None:
    (tmp_path / "home" / rules).write_text("*.log\n")
    (tmp_path / "w/kept.log").write_text("kept\n")
    take(store, "s", "c1", {}, LIMITS)
    assert calls_of(store, "c2") == []
    (tmp_path / "home" / rules).write_text("\n")
    assert "ls-files" in calls_of(store, "c3")
    assert b"kept.log" in store.git("ls-tree", "--name-only", store.find("s", "c3").tree)


def test_rules_that_lie_elsewhere_are_left_to_git(store: CheckpointStore, tmp_path: Path) -> None:
    (tmp_path / "home/.gitconfig").write_text("[core]\n\texcludesFile = ~/mine\n")
    assert [calls_of(store, name) for name in ("c1", "c2")] == [["ls-files"]] * 2


def test_a_change_just_before_the_look_is_left_to_git(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "SETTLED_NS", 1 << 62)
    (Path(store.workspace) / "a.txt").write_text("else\n")
    assert "update-index" in calls_of(store, "c1")
    assert calls_of(store, "c2") == ["ls-files"]


def test_a_large_workspace_is_left_to_git(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glance, "MAX_ENTRIES", 5)
    assert [calls_of(store, name) for name in ("c1", "c2")] == [["ls-files"]] * 2


def test_a_part_of_a_repository_is_left_to_git(store: CheckpointStore, tmp_path: Path) -> None:
    part = CheckpointStore.of(str(tmp_path / "checkpoints"), f"{store.workspace}/src")
    take(part, "s", "p1", {}, LIMITS)
    (tmp_path / "w/.gitignore").write_text("b.txt\n")  # above the part
    assert "ls-files" in calls_of(part, "p2")


def test_a_left_out_file_is_left_to_git(store: CheckpointStore) -> None:
    with (Path(store.workspace) / "big").open("wb") as file:
        file.truncate(6 * 1024 * 1024)
    take(store, "s", "c1", {}, LIMITS)
    assert "ls-files" in calls_of(store, "c2")
    assert store.find("s", "c2").left_out == {b"big": "big"}
