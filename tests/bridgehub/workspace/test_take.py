"""What is remembered from one checkpoint to the next makes it cheaper, and never makes an old state of a new one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridgehub.workspace import glance
from bridgehub.workspace import store as store_module
from bridgehub.workspace.git import GitFailed
from bridgehub.workspace.prune import forget_session
from bridgehub.workspace.store import CheckpointStore, StoreBusy, session_ref
from bridgehub.workspace.take import Limits, take
from tests.bridgehub.workspace.calls import counting

LIMITS = Limits(first_s=60, later_s=60)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointStore:
    monkeypatch.setattr(glance, "SETTLED_NS", 1 << 62)  # git looks each time
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a.txt").write_text("a\n")
    return CheckpointStore.of(str(tmp_path / "checkpoints"), str(tmp_path / "w"))


def save(store: CheckpointStore, name: str) -> str:
    """Take a checkpoint; return its tree as it can be read again."""
    take(store, "s", name, {}, LIMITS)
    return store.find("s", name).tree


def test_an_unchanged_workspace_costs_one_call(store: CheckpointStore) -> None:
    first = save(store, "c1")
    with counting() as calls:
        take(store, "s", "c2", {}, LIMITS)
    assert calls == ["ls-files"]
    assert store.find("s", "c2").tree == first


def test_git_takes_what_we_write_for_its_own(store: CheckpointStore) -> None:
    git = ("git", "-C", store.workspace)
    subprocess.run(["git", "init", "-q", "--object-format=sha256", store.workspace], check=True)
    trees = {save(store, name) for name in ("c1", "c2")}
    assert {len(tree) for tree in trees} == {64}
    store.git("fsck", "--strict")
    told = store.git("log", "-1", "--format=%an <%ae> %cn %ct", f"{session_ref('s')}/c2").decode().split()
    assert told[:3] == ["builderos", "<checkpoints@localhost>", "builderos"]
    assert abs(int(told[3]) - (store.folder / session_ref("s") / "c2").stat().st_mtime) < 60
    assert (
        subprocess.run([*git, "status", "--short"], check=True, capture_output=True).stdout == b"?? a.txt\n"
    )


def test_a_tree_in_a_pack_of_the_person_is_remembered(store: CheckpointStore) -> None:
    git = ("git", "-C", store.workspace, "-c", "user.name=x", "-c", "user.email=x@localhost")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["gc", "-q"]):
        subprocess.run([*git, *words], check=True)
    trees = [save(store, "c1")]
    with counting() as calls:
        take(store, "s", "c2", {}, LIMITS)
    assert calls == ["ls-files"]
    trees.append(store.find("s", "c2").tree)
    subprocess.run([*git, "repack", "-q", "-a", "-d", "-f"], check=True)
    for pack in Path(store.workspace, ".git/objects/pack").iterdir():
        pack.unlink()
    trees.append(save(store, "c4"))
    assert len(set(trees)) == 1
    assert store.git("ls-tree", "--name-only", trees[0]) == b"a.txt\n"


def test_an_empty_folder_costs_no_more_than_another(store: CheckpointStore) -> None:
    """Git has the empty tree built in: it is in no file and in no pack."""
    Path(store.workspace, "a.txt").unlink()
    save(store, "c1")
    with counting() as calls:
        take(store, "s", "c2", {}, LIMITS)
    assert calls == ["ls-files"]


def test_a_store_with_refs_of_another_kind_is_left_to_git(store: CheckpointStore) -> None:
    save(store, "c1")
    with (store.folder / "config").open("a") as config:
        config.write("[extensions]\n\trefStorage = files\n")
    with counting() as calls:
        take(store, "s", "c2", {}, LIMITS)
    assert calls == ["ls-files", "commit-tree", "update-ref"]
    assert (store.folder / session_ref("s") / "c2").exists()


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

    def full(*_: object, **__: object) -> None:
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


def test_who_waits_for_the_folder_looks_ever_more_rarely(
    store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, pauses = 0.0, []

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds
        pauses.append(seconds)

    with store.locked(0):
        monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=lambda: now, sleep=pause))
        with pytest.raises(StoreBusy), store.locked(2.0):
            pass
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.01
    assert 2.0 <= sum(pauses) < 2.0 + pauses[-1]
    assert len(pauses) < 70
