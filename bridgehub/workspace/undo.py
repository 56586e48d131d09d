"""Takes back what happened between two checkpoints and keeps what happened since: a three-way merge.

Theory of operation. The state just before the undo is saved as a checkpoint (`now`). The merge has the state after
the turn as its base, `now` on one side and the state before the turn on the other. The plan is `now` with all paths
of the merge that have no conflict, and is kept under the undo's id with a note of `now`. Carrying it out goes from
`now` to the plan, path by path: a file is replaced whole, and only if it is as in `now`; one that is as planned was
done before, and anything else became a conflict meanwhile. So the same undo may be carried out again after a crash.

Everything here blocks.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs

from bridgehub.workspace.git import GitFailed
from bridgehub.workspace.paths import shown
from bridgehub.workspace.store import CheckpointStore, Kept, NoCheckpoint
from bridgehub.workspace.take import Limits, take

__all__ = ["UNDO_LIMITS", "NothingToUndo", "Plan", "UndoResult", "carry_out", "plan_undo"]

UNDO_LIMITS = Limits(later_s=20.0)
"""Of the checkpoint before an undo: a person waits for it, and nothing else does."""

MERGE_S = 20.0

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Entry = tuple[str, str]
"""Mode and blob of a path, as git writes them."""

_ABSENT: Entry = ("000000", "")


class NothingToUndo(Exception):
    """Nothing would change; `conflicts` are the paths that somebody changed since."""

    def __init__(self, conflicts: Sequence[str]) -> None:
        super().__init__("there is nothing to undo")
        self.conflicts = tuple(conflicts)


@attrs.frozen
class Plan:
    """What an undo will do. `checkpoint_id`: the state just before it."""

    checkpoint_id: str
    conflicts: tuple[str, ...]


@attrs.frozen
class UndoResult:
    """What an undo did: every path that was written, removed or given another mode, and what was left alone."""

    files: tuple[str, ...]
    conflicts: tuple[str, ...]


def plan_undo(store: CheckpointStore, session_id: str, undo_id: str, before: str, after: str) -> Plan:
    """Plan to take back what lies between two checkpoints of a session, and keep the plan.

    Raises:
        NoCheckpoint: one of them is gone.
        NothingToUndo: nothing would change.
        TooMuch, StoreBusy, GitFailed, GitMissing, OSError: the workspace cannot be saved or merged.
    """
    base, theirs = store.find(session_id, after), store.find(session_id, before)
    now_id = f"{undo_id}-now"
    taken = take(store, session_id, now_id, {"session": session_id, "undo": undo_id}, UNDO_LIMITS)
    now = Kept("", taken.tree, taken.left_out)
    # Nobody clears up meanwhile: a checkpoint removes every index that is left over, and nothing keeps the plan yet.
    with store.locked(MERGE_S):
        tree, conflicts = _planned(store, undo_id, base, now, theirs)
        note = {"session": session_id, "undo": undo_id, "now": now_id, "conflicts": conflicts}
        store.keep(session_id, undo_id, tree, note, MERGE_S)
    return Plan(now_id, conflicts)


def _planned(
    store: CheckpointStore, undo_id: str, base: Kept, now: Kept, theirs: Kept
) -> tuple[str, tuple[str, ...]]:
    """Return the tree that an undo leads to, and the paths that it leaves alone."""
    merged, bad = _merge(store, base.tree, now.tree, theirs.tree)
    wanted = {
        path: entries for path, entries in _differences(store, now.tree, merged).items() if path not in bad
    }
    uncovered = {path for path in wanted if not all(kept.covers(path) for kept in (base, theirs, now))}
    conflicts = set(bad.values()) | uncovered
    clean = {path: entries for path, entries in wanted.items() if not _touches(path, conflicts)}
    if not clean:
        raise NothingToUndo(_names(conflicts))
    tree = _with(store, now.tree, {path: new for path, (_, new) in clean.items()}, undo_id)
    if _differences(store, now.tree, tree) != clean:
        raise GitFailed("write-tree", None, "the plan is not what was merged")
    return tree, _names(conflicts)


def _touches(path: bytes, conflicts: set[bytes]) -> bool:
    return path in conflicts or any(
        path.startswith(one + b"/") or one.startswith(path + b"/") for one in conflicts
    )


def _names(paths: set[bytes]) -> tuple[str, ...]:
    return tuple(shown(path) for path in sorted(paths))


def _merge(store: CheckpointStore, base: str, ours: str, theirs: str) -> tuple[str, dict[bytes, bytes]]:
    """Merge three trees; return the tree, and its paths in conflict with the paths that they stand for.

    If a folder has taken a file's place, git calls the file `PATH~COMMIT`.
    """

    def commit(tree: str, *parents: str) -> str:
        options = [word for parent in parents for word in ("-p", parent)]
        return store.git("commit-tree", tree, *options, given=b"merge").decode().strip()

    root = commit(base)
    sides = commit(ours, root), commit(theirs, root)
    done = store.git(
        *("-c", "merge.directoryRenames=false", "-c", "merge.conflictStyle=merge"),
        *("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"),
        *sides,
        ok=(0, 1),
        limit_s=MERGE_S,
    )
    tree, *names = done.split(b"\0")
    moved = re.compile(f"~(?:{'|'.join(sides)})(?:_[0-9]+)?$".encode())
    return tree.decode().strip(), {name: moved.sub(b"", name) for name in names if name}


def _differences(store: CheckpointStore, old: str, new: str) -> dict[bytes, tuple[Entry, Entry]]:
    raw = store.git("diff-tree", "-r", "--raw", "-z", "--no-renames", "--no-abbrev", old, new).split(b"\0")
    found: dict[bytes, tuple[Entry, Entry]] = {}
    for meta, path in zip(raw[0::2], raw[1::2], strict=False):
        old_mode, new_mode, old_blob, new_blob, _ = meta[1:].decode().split(" ")
        if "160000" not in (old_mode, new_mode):
            found[path] = (_entry(old_mode, old_blob), _entry(new_mode, new_blob))
    return found


def _entry(mode: str, blob: str) -> Entry:
    return _ABSENT if mode == "000000" else (mode, blob)


def _with(store: CheckpointStore, tree: str, entries: Mapping[bytes, Entry], undo_id: str) -> str:
    """Return a tree with some of its paths replaced."""
    index = store.folder / f"index.undo-{undo_id}"
    zero = "0" * len(tree)
    lines = [
        f"{mode if blob else '0'} {blob or zero}\t".encode() + path + b"\0"
        for path, (mode, blob) in sorted(entries.items(), key=lambda one: bool(one[1][1]))  # removals first
    ]
    try:
        store.git("read-tree", tree, index=index)
        store.git("update-index", "--replace", "-z", "--index-info", given=b"".join(lines), index=index)
        return store.git("write-tree", index=index).decode().strip()
    finally:
        index.unlink(missing_ok=True)


# ---- carrying it out ----


def carry_out(store: CheckpointStore, session_id: str, undo_id: str) -> UndoResult:
    """Do what was planned, or what is left of it.

    Raises:
        NoCheckpoint: the plan is gone.
        GitFailed, GitMissing: the store cannot be read; some files may be done.
    """
    plan = store.find(session_id, undo_id)
    now_id = plan.note.get("now")
    if not isinstance(now_id, str):
        raise NoCheckpoint(undo_id)
    now = store.find(session_id, now_id)
    told = plan.note.get("conflicts")
    conflicts = {str(path) for path in told} if isinstance(told, list) else set()
    files: set[str] = set()
    wanted = _differences(store, now.tree, plan.tree)
    ordered = sorted(wanted.items(), key=lambda one: (one[1][1] != _ABSENT, one[0]))
    for number, (path, (old, new)) in enumerate(ordered):  # removals first: a folder may take a file's place
        try:
            done = _File(store, path, f".builderos-{undo_id}-{number}").change(old, new)
        except OSError:
            done = False
        (files if done else conflicts).add(shown(path))
    return UndoResult(tuple(sorted(files)), tuple(sorted(conflicts)))


@attrs.frozen
class _File:
    store: CheckpointStore
    path: bytes
    making: str
    """What the new file is called until it is whole."""

    def change(self, old: Entry, new: Entry) -> bool:
        """Bring the file from `old` to `new`; False if it is neither. Raises OSError, GitFailed."""
        parents = self._open_parents(make=new != _ABSENT and old == _ABSENT)
        if parents is None:
            return new == _ABSENT
        try:
            folder, name = parents[-1], os.path.basename(self.path)
            self._clean(folder)
            here = self._entry_of(folder, name)
            if here == new:
                return True
            if here != old:
                return False
            if new == _ABSENT:
                os.unlink(name, dir_fd=folder)
                self._remove_empty(parents)
            else:
                self._write(folder, name, new)
            return True
        finally:
            for descriptor in parents:
                os.close(descriptor)

    def _open_parents(self, *, make: bool) -> list[int] | None:
        """Open the folders on the way, none of them a link; None if one is not there."""
        opened = [os.open(self.store.workspace, _FOLDER)]
        try:
            for part in self.path.split(b"/")[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=opened[-1])
                opened.append(os.open(part, _FOLDER, dir_fd=opened[-1]))
        except FileNotFoundError:
            _close(opened)
            return None
        except BaseException:
            _close(opened)
            raise
        return opened

    def _entry_of(self, folder: int, name: bytes) -> Entry:
        try:
            told = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return _ABSENT
        if stat.S_ISLNK(told.st_mode):
            return "120000", self._blob(os.readlink(name, dir_fd=folder))
        if not stat.S_ISREG(told.st_mode):
            return "040000", ""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read()
        return "100755" if told.st_mode & 0o100 else "100644", self._blob(data)

    def _blob(self, data: bytes) -> str:
        form = hashlib.sha256 if self.store.is_sha256 else hashlib.sha1
        return form(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    def _write(self, folder: int, name: bytes, new: Entry) -> None:
        mode, blob = new
        try:
            data = self.store.git("cat-file", "blob", blob)
        except GitFailed as exc:
            raise OSError(5, "the content is gone") from exc
        try:
            if mode == "120000":
                os.symlink(data, os.fsencode(self.making), dir_fd=folder)
            else:
                self._write_file(folder, name, data, is_program=mode == "100755")
            os.replace(self.making, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            self._clean(folder)
            raise

    def _clean(self, folder: int) -> None:
        """Remove what an undo left that did not come to its end: the disk was full, or its process was killed."""
        with suppress(FileNotFoundError):
            os.unlink(self.making, dir_fd=folder)

    def _write_file(self, folder: int, name: bytes, data: bytes, *, is_program: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.making, flags, 0o666, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            with suppress(FileNotFoundError):
                told = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if stat.S_ISREG(told.st_mode):
                    mode = stat.S_IMODE(told.st_mode)  # git keeps only whether it is a program
            readers = (mode & 0o444) >> 2
            os.fchmod(descriptor, mode | readers if is_program else mode & ~0o111)

    def _remove_empty(self, parents: Sequence[int]) -> None:
        names = self.path.split(b"/")[:-1]
        for above, name in zip(reversed(parents[:-1]), reversed(names), strict=True):
            try:
                os.rmdir(name, dir_fd=above)
            except OSError:
                return


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
