"""What is remembered from one checkpoint to the next makes it cheaper, and never makes an old state of a new one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import bridgehub.workspace.git
from bridgehub.workspace.git import GitFailed
from bridgehub.workspace.prune import forget_session
from bridgehub.workspace.store import CheckpointStore
from bridgehub.workspace.take import Limits, take

LIMITS = Limits(first_s=60, later_s=60)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    return CheckpointStore.of(str(tmp_path / "checkpoints"), str(tmp_path / "w"))


def save(store: CheckpointStore, name: str) -> str:
    """Take a checkpoint; return its tree as it can be read again."""
    take(store, "s", name, {}, LIMITS)
    return store.find("s", name).tree


def test_an_unchanged_workspace_costs_three_calls(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(store, "c1")
    calls: list[set[str]] = []
    start = bridgehub.workspace.git._start

    def counted(arguments: Sequence[str], *more: Any, **options: Any) -> subprocess.Popen[bytes]:
        calls.append(set(arguments))
        return start(arguments, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(bridgehub.workspace.git, "_start", counted)
        take(store, "s", "c2", {}, LIMITS)
    assert ["ls-files" in calls[0], "commit-tree" in calls[1], "update-ref" in calls[2]] == [True] * 3
    assert len(calls) == 3
    assert store.find("s", "c2").tree == first


def test_each_change_is_in_the_next_checkpoint(store: CheckpointStore) -> None:
    workspace = Path(store.workspace)
    trees = [save(store, "c1"), save(store, "c2")]
    (workspace / "a.txt").write_text("b\n")
    trees.append(save(store, "c3"))
    (workspace / "new.txt").write_text("new\n")
    trees.append(save(store, "c4"))
    (workspace / "new.txt").unlink()
    trees.append(save(store, "c5"))
    assert [trees.index(tree) for tree in trees] == [0, 0, 2, 3, 2]


def test_what_another_writer_took_is_not_remembered(store: CheckpointStore) -> None:
    workspace = Path(store.workspace)
    first = save(store, "c1")
    other = CheckpointStore(store.folder, store.workspace)
    (workspace / "a.txt").write_text("b\n")
    second = save(other, "c2")
    assert [save(store, "c3"), save(store, "c4")] == [second, second] != [first, first]


def test_a_repository_that_begins_later_counts(store: CheckpointStore) -> None:
    workspace = Path(store.workspace)
    (workspace / "kept.log").write_text("kept\n")
    save(store, "c1")
    subprocess.run(["git", "init", "-q", str(workspace)], check=True)
    (workspace / ".git" / "info" / "exclude").write_text("*.tmp\n")
    (workspace / "left.tmp").write_text("left\n")
    tree = save(store, "c2")
    names = store.git("ls-tree", "--name-only", tree).decode().split()
    assert names == ["a.txt", "kept.log"]
    shutil.rmtree(workspace / ".git")
    (store.folder / "info" / "exclude").unlink()
    names = store.git("ls-tree", "--name-only", save(store, "c3")).decode().split()
    assert names == ["a.txt", "kept.log", "left.tmp"]


def test_what_is_read_again_says_so(store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    take(store, "s", "c1", {}, LIMITS)
    tree = store.find("s", "c1").tree
    (store.folder / "objects" / tree[:2] / tree[2:]).unlink()
    take(store, "s", "c2", {}, LIMITS, on_taken=lambda: taken.append("c2"))
    assert taken == ["c2", "c2"]

    def full(*_: object) -> None:
        raise GitFailed("update-ref", 1, "no space")

    monkeypatch.setattr(CheckpointStore, "keep", full)
    (Path(store.workspace) / "a.txt").write_text("b\n")
    with pytest.raises(GitFailed):
        take(store, "s", "c3", {}, LIMITS, on_taken=lambda: taken.append("c3"))
    assert taken == ["c2", "c2", "c3"], "a failure that has another cause is not tried again"


def test_a_tree_that_was_cleared_away_is_made_again(store: CheckpointStore) -> None:
    first = save(store, "c1")
    (store.folder / "objects" / first[:2] / first[2:]).unlink()
    assert save(store, "c2") == first
    assert store.git("ls-tree", "--name-only", first) == b"a.txt\n"
    forget_session(store.folder.parent, "s")
    assert save(store, "c3") == first
