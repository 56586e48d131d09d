"""Checkpoints hold files as their bytes, an undo takes back one's changes alone, and the repository is not touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bridgehub.workspace.changes import compare, count_changes
from bridgehub.workspace.git import GitFailed
from bridgehub.workspace.paths import refusal_of_workspace
from bridgehub.workspace.store import CheckpointStore, NoCheckpoint, StoreBusy
from bridgehub.workspace.take import Limits, TooMuch, snapshot, take
from bridgehub.workspace.undo import NothingToUndo, carry_out, plan_undo

Tree = dict[bytes, tuple[str, bytes]]


class Work:
    """A workspace with its store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "w"
        self.folder.mkdir()
        self.stores = folder / "checkpoints"
        self.store = CheckpointStore.of(str(self.stores), str(self.folder))
        self._taken = 0

    def save(self, limits: Limits | None = None) -> str:
        """Take a checkpoint; return its id."""
        self._taken += 1
        name = f"c{self._taken}"
        take(self.store, "s", name, {}, limits or Limits(first_s=60, later_s=60))
        return name

    def write(self, name: str | bytes, data: str | bytes) -> Path:
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.folder), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def git(self, *arguments: str) -> bytes:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
        command = ["git", "-C", str(self.folder), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def changed(self, before: str, after: str) -> dict[str, str]:
        """Return what differs: status by path."""
        found = compare(self.store, self.store.find("s", before), self.store.find("s", after))
        return {file["path"]: file["status"] for file in found.files}

    def undo(self, before: str, after: str, undo_id: str = "u1") -> tuple[set[str], set[str]]:
        plan_undo(self.store, "s", undo_id, before, after)
        done = carry_out(self.store, "s", undo_id)
        return set(done.files), set(done.conflicts)

    def tree(self) -> Tree:
        """Return all that is there, but for the person's repository: kind with mode, and content."""
        found: Tree = {}
        root = os.fsencode(self.folder)
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name != b".git"]
            for name in [*files, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    found[os.path.relpath(path, root)] = ("link", os.readlink(path))
                elif os.path.isfile(path):
                    with open(path, "rb") as file:
                        found[os.path.relpath(path, root)] = (oct(os.stat(path).st_mode & 0o777), file.read())
        return found


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def rough_work(work: Work) -> None:
    """What an agent's shell may do: create, delete, chmod, rename, link, odd names, any bytes."""
    work.write("new/deep/file.txt", "new\n")
    (work.folder / "gone.txt").unlink()
    (work.folder / "tool.sh").chmod(0o755)
    (work.folder / "moved.txt").rename(work.folder / "elsewhere.txt")
    (work.folder / "link").unlink()
    (work.folder / "link").symlink_to("elsewhere.txt")
    (work.folder / "was_file").unlink()
    work.write("was_file/now_folder", "x\n")
    work.write(b"new\nline \xff.txt", "odd\n")
    work.write("crlf.txt", b"a\r\nb\nc\r\n")
    work.write("bytes.bin", bytes(range(256)))
    (work.folder / "secret").write_text("changed\n")
    (work.folder / "fixed").unlink()
    work.write("fixed", "changed\n").chmod(0o444)


def prepared(work: Work) -> None:
    work.write("gone.txt", "gone\n")
    work.write("tool.sh", "#!/bin/sh\n")
    work.write("moved.txt", "".join(f"{n}\n" for n in range(20)))
    (work.folder / "link").symlink_to("nowhere")
    work.write("was_file", "a file\n")
    work.write("crlf.txt", b"a\r\nb\r\n")
    work.write("bytes.bin", bytes(255))
    work.write("secret", "secret\n").chmod(0o600)
    work.write("fixed", "read only\n").chmod(0o444)


@pytest.mark.parametrize("how", ["no repository", "repository", "all committed", "part of a repository"])
def test_undo_and_redo_cover_all_that_a_shell_did(tmp_path: Path, how: str) -> None:
    work = Work(tmp_path)
    prepared(work)
    if how == "part of a repository":
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        (tmp_path / ".gitignore").write_text("checkpoints/\n")
    elif how != "no repository":
        work.git("init", "-q")
        if how == "all committed":
            work.git("add", "-A")
            work.git("commit", "-qm", "x")
    start = work.tree()
    before = work.save()
    rough_work(work)
    done = work.tree()
    after = work.save()
    status = work.changed(before, after)
    assert status["new/deep/file.txt"] == "added"
    assert status["elsewhere.txt"] == "renamed"
    assert status["tool.sh"] == "mode"
    assert status["new\nline \ufffd.txt"] == "added"
    files, conflicts = work.undo(before, after)
    assert not conflicts
    assert "gone.txt" in files
    assert work.tree() == start
    assert not (work.folder / "new").exists()
    plan_undo(work.store, "s", "u2", "u1-now", "u1")
    assert not carry_out(work.store, "s", "u2").conflicts
    assert work.tree() == done


def test_a_patch_is_taken_by_git(work: Work, tmp_path: Path) -> None:
    prepared(work)
    before = work.save()
    start = work.tree()
    rough_work(work)
    (work.folder / "bytes.bin").write_bytes(bytes(255))  # a binary is named and has no patch
    done = work.tree()
    after = work.save()
    found = compare(work.store, work.store.find("s", before), work.store.find("s", after))
    work.undo(before, after)
    assert work.tree() == start
    for file in sorted(found.files, key=lambda one: one["status"] != "deleted"):
        if "\ufffd" not in file["path"]:
            subprocess.run(["git", "apply", "-"], cwd=work.folder, input=file["patch"].encode(), check=True)
    odd = b"new\nline \xff.txt"
    (work.folder / "secret").chmod(0o600)  # a patch knows only whether a file is a program
    (work.folder / "fixed").chmod(0o444)
    assert {path: one for path, one in work.tree().items() if path != odd} == {
        path: one for path, one in done.items() if path != odd
    }


def test_what_the_person_did_since_stays_and_conflicts_are_named(work: Work) -> None:
    lines = [f"{n}\n" for n in range(30)]
    work.write("code", "".join(lines))
    work.write("clash", "start\n")
    place = work.write("in/place", "start\n")
    before = work.save()
    work.write("code", "".join(["agent\n", *lines]))
    work.write("clash", "agent\n")
    place.write_text("agent\n")
    work.write("created", "agent\n")
    after = work.save()
    work.write("code", "".join(["agent\n", *lines, "person\n"]))
    work.write("clash", "person\n")
    place.unlink()
    work.write("in/place/person", "person\n")
    work.write("created", "agent\nand person\n")
    files, conflicts = work.undo(before, after)
    assert (work.folder / "code").read_text() == "".join([*lines, "person\n"])
    assert (work.folder / "clash").read_text() == (place / "person").read_text() == "person\n"
    assert (work.folder / "created").read_text() == "agent\nand person\n"
    assert (files, conflicts) == ({"code"}, {"clash", "created", "in/place"})
    with pytest.raises(NothingToUndo) as nothing:
        work.undo(before, after, "u2")
    assert set(nothing.value.conflicts) == {"clash", "created", "in/place"}


def test_an_undo_that_broke_off_spares_later_changes(work: Work) -> None:
    for name in ("a", "b", "c"):
        work.write(name, f"{name} before\n")
    before = work.save()
    for name in ("a", "b", "c"):
        work.write(name, f"{name} after\n")
    after = work.save()
    plan_undo(work.store, "s", "u1", before, after)
    work.write("a", "a before\n")  # done before it broke off
    work.write("b", "somebody was quicker\n")
    (work.folder / ".builderos-u1-0").write_text("half a fi")  # the rest of the crash
    done = carry_out(work.store, "s", "u1")
    assert (set(done.files), set(done.conflicts)) == ({"a", "c"}, {"b"})
    assert (work.folder / "b").read_text() == "somebody was quicker\n"
    assert (work.folder / "c").read_text() == "c before\n"
    assert carry_out(work.store, "s", "u1") == done


def test_an_undo_writes_nothing_through_a_link(work: Work, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("after\n")
    work.write("sub/file", "before\n")
    before = work.save()
    work.write("sub/file", "after\n")
    after = work.save()
    plan_undo(work.store, "s", "u1", before, after)
    (work.folder / "sub" / "file").unlink()
    (work.folder / "sub").rmdir()
    (work.folder / "sub").symlink_to(outside)
    done = carry_out(work.store, "s", "u1")
    assert (done.files, done.conflicts) == ((), ("sub/file",))
    assert (outside / "file").read_text() == "after\n"


def test_git_filters_do_not_reach_a_checkpoint(work: Work) -> None:
    work.git("init", "-q")
    work.git("config", "filter.swap.clean", "tr a-z A-Z")
    work.git("config", "filter.swap.smudge", "tr A-Z a-z")
    work.git("config", "filter.lfs.clean", "git-lfs-that-is-not-there clean %f")
    work.git("config", "filter.lfs.required", "true")
    work.write(".gitattributes", "*.swap filter=swap\n*.txt text eol=crlf\n")
    work.write("a.swap", "small\n")
    work.write("a.txt", b"one\r\ntwo\r\n")
    work.git("add", "-A")
    work.git("commit", "-qm", "x")
    work.write(".gitattributes", "*.swap filter=swap\n*.txt text eol=crlf\n*.lfs filter=lfs\n")
    work.write("large.lfs", "content\n")
    start = work.tree()
    before = work.save()
    for name in ("a.swap", "a.txt", "large.lfs"):
        work.write(name, "agent\n")
    after = work.save()
    assert set(work.changed(before, after)) == {"a.swap", "a.txt", "large.lfs"}
    work.undo(before, after)
    assert work.tree() == start


def test_what_cannot_be_saved_is_named_and_never_shown_as_it_was(work: Work) -> None:
    work.git("init", "-q")
    work.write("grows.txt", "small\n")
    work.write("plain.txt", "a\n")
    nested = work.folder / "nested"
    nested.mkdir()
    subprocess.run(["git", "init", "-q", str(nested)], check=True)  # without a commit
    work.write("nested/inner.txt", "inner\n")
    os.mkfifo(work.folder / "pipe")
    before = work.save()
    work.write("grows.txt", b"x" * (5 * 1024 * 1024 + 1))
    work.write("plain.txt", "b\n")
    work.write("nested/inner.txt", "changed\n")
    after = work.save()
    left_out = dict(work.store.find("s", after).left_out)
    assert left_out == {b"grows.txt": "big", b"nested/": "nested_repository"}
    assert work.changed(before, after) == {"plain.txt": "modified"}
    files, _ = work.undo(before, after)
    assert files == {"plain.txt"}
    assert (work.folder / "grows.txt").stat().st_size > 5 * 1024 * 1024


def test_a_submodule_and_a_linked_worktree(work: Work, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    subprocess.run(["git", "init", "-q", str(inner)], check=True)
    work.git("init", "-q")
    work.write("a.txt", "a\n")
    subprocess.run(
        [
            "git",
            "-C",
            str(inner),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "--allow-empty",
            "-qm",
            "x",
        ],
        check=True,
    )
    work.git("submodule", "add", "-q", str(inner), "module")
    work.git("add", "-A")
    work.git("commit", "-qm", "x")
    linked = tmp_path / "linked"
    work.git("worktree", "add", "-q", str(linked))
    before = work.save()
    work.write("module/inside.txt", "x\n")
    work.write("a.txt", "b\n")
    assert work.changed(before, work.save()) == {"a.txt": "modified"}
    other = CheckpointStore.of(str(work.stores), str(linked))
    first = take(other, "s", "l1", {})
    (linked / "a.txt").write_text("linked\n")
    second = take(other, "s", "l2", {})
    assert first.tree != second.tree
    assert count_changes(other, other.find("s", "l1"), other.find("s", "l2")) == (1, 1, 1)


def test_a_flagged_or_unmerged_index_is_not_believed(work: Work) -> None:
    work.git("init", "-q")
    work.write("hidden.txt", "one\n")
    work.git("add", "-A")
    work.git("commit", "-qm", "x")
    work.git("update-index", "--assume-unchanged", "hidden.txt")
    work.write("hidden.txt", "two\n")
    before = work.save()
    work.write("hidden.txt", "three\n")
    work.undo(before, work.save())
    assert (work.folder / "hidden.txt").read_text() == "two\n"


def test_a_broken_index_of_the_store_is_made_again(work: Work) -> None:
    work.git("init", "-q")
    work.write("a.txt", "one\n")
    before = work.save()
    work.write("a.txt", "two\n")
    work.store.index.write_bytes(b"DIRC\0\0\0\2\0\0\0\7 this is no index")
    (work.store.folder / "index.new").write_bytes(b"left by a crash")
    (work.store.folder / "index.new.lock").touch()
    assert work.changed(before, work.save()) == {"a.txt": "modified"}


def test_pruned_objects_do_not_break_the_next_checkpoint(work: Work) -> None:
    work.git("init", "-q")
    work.write("a.txt", "one\n")
    work.git("add", "-A")
    work.save()
    work.git("rm", "-q", "--cached", "a.txt")
    work.git("gc", "-q", "--prune=now")
    work.write("b.txt", "two\n")
    again = work.save()
    tree = work.store.find("s", again).tree
    assert work.store.git("ls-tree", "--name-only", tree) == b"a.txt\nb.txt\n"
    assert work.store.git("cat-file", "blob", f"{tree}:a.txt") == b"one\n"


def test_limits_give_a_checkpoint_up_and_leave_the_last_one(work: Work) -> None:
    work.write("a.txt", "one\n")
    before = work.save()
    for number in range(10):
        work.write(f"{number}", "x")
    with pytest.raises(TooMuch, match="5 files"):
        work.save(Limits(files=5))
    with pytest.raises(TooMuch, match="too long"):
        work.save(Limits(later_s=0.0001))
    assert work.store.find("s", before).tree
    with pytest.raises(NoCheckpoint):
        work.store.find("other session", before)
    with pytest.raises(NoCheckpoint):
        work.store.find("s", "../../heads/x")


def test_two_at_once_wait_for_each_other(work: Work) -> None:
    work.write("a.txt", "one\n")
    with work.store.locked(0), pytest.raises(StoreBusy):
        snapshot(work.store, wait_s=0.05)


def test_an_error_of_git_is_never_taken_for_a_checkpoint(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    work.write("a.txt", "one\n")
    before = work.save()
    work.write("a.txt", "two\n")
    real = CheckpointStore.git

    def fails(self: CheckpointStore, *arguments: str, **more: object) -> bytes:
        if arguments[0] == "update-index":
            raise GitFailed("update-index", 128, "fatal: no space left on device")
        return real(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(CheckpointStore, "git", fails)
    with pytest.raises(GitFailed, match="no space"):
        work.save()
    monkeypatch.undo()
    assert work.changed(before, work.save()) == {"a.txt": "modified"}


@pytest.mark.parametrize("name", ["/", "home", "data", "above"])
def test_some_folders_are_never_saved(tmp_path: Path, name: str) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "data").mkdir()
    folder = {"/": "/", "above": str(tmp_path)}.get(name, str(tmp_path / name))
    assert refusal_of_workspace(folder, str(tmp_path / "home"), str(tmp_path / "data"))
    (tmp_path / "data" / "worktrees").mkdir()
    assert not refusal_of_workspace(
        str(tmp_path / "data/worktrees"), str(tmp_path / "home"), str(tmp_path / "data")
    )
