"""Checkpoints go with their sessions, with age, and oldest first where there are too many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridgehub.workspace.prune import forget_session, pack, prune, usage
from bridgehub.workspace.store import CheckpointStore, NoCheckpoint
from bridgehub.workspace.take import take

NOBODY = 0
"""No checkpoint is older than 1970."""


def saved(folder: Path, name: str, *sessions: str) -> CheckpointStore:
    workspace = folder / name
    workspace.mkdir()
    store = CheckpointStore.of(str(folder / "ck"), str(workspace))
    for session in sessions:
        (workspace / session).write_text(session)
        take(store, session, "c1", {})
    return store


def has(store: CheckpointStore, session: str) -> bool:
    try:
        return bool(store.find(session, "c1").tree)
    except NoCheckpoint:
        return False


def test_those_of_a_removed_session_go_and_the_others_stay(tmp_path: Path) -> None:
    both, alone = saved(tmp_path, "both", "stays", "goes"), saved(tmp_path, "alone", "goes")
    assert usage(tmp_path / "ck").checkpoints == 3
    assert forget_session(tmp_path / "ck", "goes") == 2
    assert has(both, "stays")
    assert not has(both, "goes")
    assert not alone.folder.exists(), "a store without checkpoints takes no room"
    assert forget_session(tmp_path / "ck", "goes") == 0


def test_unknown_sessions_and_old_checkpoints_go(tmp_path: Path) -> None:
    store = saved(tmp_path, "w", "known", "unknown")
    assert prune(tmp_path / "ck", ["known"], NOBODY) == 1
    assert has(store, "known")
    assert prune(tmp_path / "ck", ["known"], 2**40) == 1
    assert not store.exists


def test_the_oldest_go_where_there_is_too_little_room(tmp_path: Path) -> None:
    store = saved(tmp_path, "w", *(f"s{number}" for number in range(8)))
    assert prune(tmp_path / "ck", [f"s{number}" for number in range(8)], NOBODY, most_bytes=1) == 8
    assert not store.exists


def test_one_that_is_in_use_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridgehub.workspace.prune.WAIT_S", 0.01)
    store = saved(tmp_path, "w", "known")
    with store.locked(0):
        assert prune(tmp_path / "ck", [], NOBODY) == 0
    assert has(store, "known")


def test_a_store_can_be_used_again_after_a_prune(tmp_path: Path) -> None:
    store = saved(tmp_path, "w", "one", "two")
    forget_session(tmp_path / "ck", "one")
    take(store, "two", "c2", {})
    assert store.git("cat-file", "blob", f"{store.find('two', 'c2').tree}:one") == b"one"


def test_there_may_be_none(tmp_path: Path) -> None:
    assert usage(tmp_path / "ck").stores == 0
    assert prune(tmp_path / "ck", [], NOBODY) == 0


@pytest.mark.parametrize("how", ["pack", "prune"])
def test_many_small_files_of_a_store_become_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("bridgehub.workspace.prune.LOOSE", 3)
    store = saved(tmp_path, "w", "one", "two")
    if how == "prune":
        assert prune(tmp_path / "ck", ["one", "two"], NOBODY) == 0
    else:
        assert pack(store)
    assert not pack(store)
    assert store.git("count-objects").startswith(b"0 objects")
    assert not list((store.folder / "refs").rglob("c1"))
    assert has(store, "one")
    take(store, "two", "c2", {})
    assert has(store, "two")


def test_a_file_that_goes_while_a_store_is_measured_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = saved(tmp_path, "w", "one")
    real, seen = os.lstat, iter([True])

    def lstat(path: str) -> os.stat_result:
        if next(seen, False):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr("bridgehub.workspace.prune.os.lstat", lstat)
    assert prune(tmp_path / "ck", ["one"], NOBODY) == 0
    monkeypatch.undo()
    assert has(store, "one")
