"""Takes a checkpoint: what changed is found by git's own list, looked at, and put into the store's index.

Never an old state for a new one: a path that cannot be taken is taken out of the index and named, every exit status
is looked at, and an index that git does not like is thrown away and made again from the files. Blocks.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import attrs

from bridgehub.workspace.git import GitFailed, stream_git
from bridgehub.workspace.glance import Seen
from bridgehub.workspace.repository import Repository, borrow_index
from bridgehub.workspace.store import CheckpointStore

__all__ = ["LIMITS", "MAX_FILE_BYTES", "Limits", "Snapshot", "TooMuch", "snapshot", "take"]

MAX_FILE_BYTES = 5 * 1024 * 1024
"""A larger file is left out: agents write text, and a large file is data."""

EMPTY_LIST_BYTES = 64 * 1024 * 1024
"""Of names that git may list."""


@attrs.frozen
class Limits:
    """What one checkpoint may take.

    Attributes:
        first_s, later_s: seconds, of a workspace's first one and of any other.
        files: that the workspace has, ignored ones aside.
        bytes: that have to be read.
    """

    first_s: float = 60.0
    later_s: float = 2.0
    files: int = 100_000
    bytes: int = 2_000_000_000


LIMITS = Limits()


_FOLDER_NOW = "folder_now"
"""Said of a file in whose place a folder is; what lies in it is listed by itself."""


class TooMuch(Exception):
    """The workspace is over a limit; the text says which."""


@attrs.frozen
class Snapshot:
    """The workspace as it is: a tree of the store, and what is not in it.

    `is_known`: the tree is the last checkpoint's, and was not looked at again.
    """

    tree: str
    left_out: Mapping[bytes, str]
    is_known: bool = False


@attrs.define(eq=False)
class _Taking:
    store: CheckpointStore
    index: Path
    limits: Limits
    until: float
    repository: Repository | None = None
    left_out: dict[bytes, str] = attrs.field(factory=dict)
    gone: list[bytes] = attrs.field(factory=list)
    is_same: bool = False
    """Whether nothing has changed since the last checkpoint."""
    seen: Seen | None = None
    """The workspace just before git looked at it."""

    @property
    def left_s(self) -> float:
        """Seconds that are left. Raises TooMuch if none are."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TooMuch("it took too long")
        return left

    @property
    def work_tree(self) -> str:
        return self.store.workspace if self.repository is None else self.repository.top

    def run(self, *, fresh: bool) -> str:
        """Bring the index up to date and return the tree of it."""
        known = None
        if not fresh and self.store.index.exists():
            known = self.store.known_tree(self.repository)
            if known is not None and self.store.glances.is_same(self.repository):
                self.is_same = True
                return known
            shutil.copy2(self.store.index, self.index)  # with its time, see `borrow_index`
        elif not fresh and self.repository is not None:
            unusable = borrow_index(self.repository, self.index, self.left_s)
            if unusable:
                self.store.git(
                    *("update-index", "--force-remove", "-z", "--stdin"),
                    given=_joined(unusable),
                    limit_s=self.left_s,
                    index=self.index,
                    low=True,
                )
        if not self.index.exists():
            self.git("read-tree", "--empty")
        self.seen = self.store.glances.look(self.repository)
        changed = self._changed()
        if known is not None and not changed:
            self.is_same = True
            return known
        taken = self._weighed(changed)
        if out := [*self.left_out, *self.gone]:
            self.git("update-index", "--force-remove", "-z", "--stdin", given=_joined(out))
        if taken:
            self.git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", given=_joined(taken))
        self._check_count()
        return self._write_tree()

    def git(self, *arguments: str, given: bytes = b"") -> bytes:
        return self.store.git(
            *arguments,
            given=given,
            limit_s=self.left_s,
            index=self.index,
            work_tree=self.work_tree,
            low=True,
        )

    def _changed(self) -> list[bytes]:
        """Return what git finds changed, gone or new below the workspace. Raises TooMuch."""
        names = bytearray()
        store = self.store
        with stream_git(
            *("ls-files", "-z", "-m", "-d", "-o", "--exclude-standard", "--deduplicate", "--", "."),
            cwd=store.workspace,
            before=store.options(self.work_tree),
            environment=store.environment(self.index),
            limit_s=self.left_s,
            low=True,
        ) as chunks:
            for chunk in chunks:
                names += chunk
                if len(names) > EMPTY_LIST_BYTES:
                    raise TooMuch("the workspace has too many files")
        return [name for name in dict.fromkeys(bytes(names).split(b"\0")) if name]

    def _weighed(self, changed: Iterable[bytes]) -> list[bytes]:
        """Return the paths that can be taken; note the others. Raises TooMuch."""
        root = os.fsencode(self.store.workspace)
        taken: list[bytes] = []
        size = 0
        for path in changed:
            reason, weight = _reason_against(root, path)
            size += weight
            if reason is None:
                taken.append(path)
            elif reason is _FOLDER_NOW:
                self.gone.append(path)
            else:
                self.left_out[path] = reason
            if len(taken) > self.limits.files or size > self.limits.bytes:
                raise TooMuch(f"over {self.limits.files} files or {self.limits.bytes} bytes have to be saved")
        return taken

    def _check_count(self) -> None:
        with self.index.open("rb") as file:
            head = file.read(12)
        if int.from_bytes(head[8:12], "big") > self.limits.files:
            raise TooMuch(f"the workspace has over {self.limits.files} files")

    def _write_tree(self) -> str:
        prefix = "" if self.repository is None else self.repository.prefix
        if not prefix:
            return self.git("write-tree").decode().strip()
        try:
            return self.git("write-tree", f"--prefix={prefix}").decode().strip()
        except GitFailed:
            if self.git("ls-files", "-z", "--", "."):
                raise
            return self.store.git("mktree", limit_s=self.left_s).decode().strip()  # the folder is empty


def _reason_against(root: bytes, path: bytes) -> tuple[str | None, int]:
    """Return why a path cannot be taken, None if it can, and how many bytes have to be read for it."""
    if path.endswith(b"/"):
        return "nested_repository", 0
    try:
        told = os.lstat(root + b"/" + path)
    except PermissionError:
        return "unreadable", 0
    except OSError:
        return None, 0  # gone: git takes it out
    if stat.S_ISLNK(told.st_mode):
        return None, 0
    if stat.S_ISDIR(told.st_mode):
        return _FOLDER_NOW, 0
    if not stat.S_ISREG(told.st_mode):
        return "special", 0
    if told.st_size > MAX_FILE_BYTES:
        return "big", 0
    if not os.access(root + b"/" + path, os.R_OK):
        return "unreadable", 0
    return None, told.st_size


def _joined(paths: Iterable[bytes]) -> bytes:
    return b"".join(path.rstrip(b"/") + b"\0" for path in paths)


def snapshot(store: CheckpointStore, limits: Limits = LIMITS, *, wait_s: float | None = None) -> Snapshot:
    """Save the workspace as it is into the store; nothing keeps it until a checkpoint does.

    Raises:
        TooMuch: it is over a limit.
        StoreBusy: somebody else works on this store.
        GitFailed, GitMissing, OSError: it cannot be saved.
    """
    with store.locked(limits.later_s if wait_s is None else wait_s):
        return _snapshot(store, limits)


def _snapshot(store: CheckpointStore, limits: Limits) -> Snapshot:
    first = not store.index.exists()
    until = time.monotonic() + (limits.first_s if first else limits.later_s)
    for left in store.folder.glob("index.*"):  # of one that was cut off
        left.unlink(missing_ok=True)
    repository = store.prepare(max(until - time.monotonic(), 0.1))
    # A name of its own: the git of a process that was killed may still write to that one's.
    index = store.folder / f"index.{os.getpid()}-{time.monotonic_ns()}"
    try:
        taking = _Taking(store, index, limits, until, repository)
        try:
            tree = taking.run(fresh=False)
        except GitFailed as exc:
            if exc.status is None:
                raise TooMuch("it took too long") from exc
            # An index that is broken or names objects that are gone: read every file.
            index.unlink(missing_ok=True)
            taking = _Taking(store, index, limits, time.monotonic() + limits.first_s, repository)
            tree = taking.run(fresh=True)
        if not taking.is_same:
            index.replace(store.index)
            store.note_found(tree)
        if not taking.left_out:
            store.note_tree(repository, tree)
        if taking.seen is not None or not taking.is_same:
            store.glances.note(taking.seen)
    except GitFailed as exc:
        if exc.status is None:
            raise TooMuch("it took too long") from exc
        raise
    finally:
        index.unlink(missing_ok=True)
    return Snapshot(tree, taking.left_out, taking.is_same)


def take(
    store: CheckpointStore,
    session_id: str,
    checkpoint_id: str,
    note: Mapping[str, object],
    limits: Limits = LIMITS,
    *,
    on_taken: Callable[[], object] = lambda: None,
) -> Snapshot:
    """Save the workspace as it is and keep that as a checkpoint of a session. Raises as `snapshot`.

    `on_taken` is called as soon as later changes of the workspace are not in it, before it is kept. It is called once
    more if the workspace has to be read again.
    """
    with store.locked(limits.later_s):
        taken = _snapshot(store, limits)
        on_taken()
        try:
            _keep(store, session_id, checkpoint_id, note, taken, limits)
        except GitFailed as exc:
            if not taken.is_known or exc.status is None:
                raise
            store.forget_tree()
            taken = _snapshot(store, limits)  # what was known of the last checkpoint went with it
            on_taken()
            _keep(store, session_id, checkpoint_id, note, taken, limits)
        return taken


def _keep(
    store: CheckpointStore,
    session_id: str,
    checkpoint_id: str,
    note: Mapping[str, object],
    taken: Snapshot,
    limits: Limits,
) -> None:
    left = store.write_left_out(taken.left_out, limits.later_s)
    told = {**note, "left": left}
    store.keep(session_id, checkpoint_id, taken.tree, told, limits.later_s, is_new=not taken.is_known)
