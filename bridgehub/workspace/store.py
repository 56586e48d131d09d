"""The checkpoints of one workspace: a git directory of our own, beside everything of the person's.

Theory of operation. A store is a bare repository below the data folder, one for each workspace, that borrows the
objects of the person's repository. A checkpoint is a commit without parents that a ref of its own keeps:
`refs/ck/SESSION/CHECKPOINT`, the session's id hashed. Its message is JSON: what it belongs to, and where the list of
left-out files lies. `index` is the index of the last checkpoint; each new one works on a copy that takes its place
once the ref is there, so a crash at any moment leaves the last good state. One lock, which the kernel drops with its
holder, keeps checkpoints of one workspace apart. Nothing is converted: files are kept as their bytes.

Everything here blocks and is called on a thread.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from bridgehub.workspace.commits import IDENTITY, CommitWriter
from bridgehub.workspace.git import GitFailed, git_environment, run_git
from bridgehub.workspace.glance import Glances
from bridgehub.workspace.repository import Repository, RepositoryFinder, stamp_of

__all__ = ["CheckpointStore", "Kept", "NoCheckpoint", "StoreBusy", "session_ref", "store_folder"]

READ_S = 20.0
"""What a look at a checkpoint may take."""

_ATTRIBUTES = "* -text -filter -eol -ident -working-tree-encoding -crlf !diff !merge\n"
_CONFIG = (
    *(
        "-c",
        "core.autocrlf=false",
        "-c",
        "core.safecrlf=false",
        "-c",
        "core.bare=false",
        "-c",
        "core.fsync=none",
    ),
    *("-c", "core.protectNTFS=false", "-c", "core.protectHFS=false", "-c", "commit.gpgSign=false"),
    *("-c", "core.logAllRefUpdates=false", "-c", "core.sparseCheckout=false", "-c", "core.attributesFile="),
)


_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.05
"""Between two looks at a lock that somebody else holds: at first, and at most."""


class StoreBusy(Exception):
    """Another checkpoint or comparison of this workspace runs."""


class NoCheckpoint(Exception):
    """There is no such checkpoint (any more)."""


@attrs.frozen
class Kept:
    """A checkpoint: its commit, its tree, and the paths that are not in it, with the reason of each."""

    commit: str
    tree: str
    left_out: Mapping[bytes, str]
    note: Mapping[str, Any] = attrs.field(factory=dict)

    def covers(self, path: bytes) -> bool:
        """Tell whether what the tree says of a path is the whole truth."""
        if path in self.left_out:
            return False
        if not self.left_out:
            return True
        parts = path.split(b"/")
        return not any(b"/".join(parts[:count]) + b"/" in self.left_out for count in range(1, len(parts)))


def store_folder(root: str, workspace: str) -> Path:
    """Return where the store of a workspace lies below the folder of all stores."""
    real = os.fsencode(os.path.realpath(workspace))
    return Path(root) / hashlib.sha256(real).hexdigest()[:24]


def session_ref(session_id: str) -> str:
    """Return the folder of a session's refs."""
    return f"refs/ck/{hashlib.sha256(session_id.encode()).hexdigest()[:24]}"


@attrs.define(eq=False)
class CheckpointStore:
    """The checkpoints of one workspace. `folder` is the store's, `workspace` the folder that it is of."""

    folder: Path
    workspace: str
    _tree: tuple[object, str] | None = None
    _finder: RepositoryFinder = attrs.field(init=False)
    _commits: CommitWriter = attrs.field(init=False)
    glances: Glances = attrs.field(init=False)
    """What of the workspace was looked at beside git."""

    def __attrs_post_init__(self) -> None:
        self._finder = RepositoryFinder(self.workspace)
        self._commits = CommitWriter(self.folder)
        self.glances = Glances(self.workspace, self.folder)

    @classmethod
    def of(cls, root: str, workspace: str) -> CheckpointStore:
        """Return the store of a workspace, there or not."""
        return cls(store_folder(root, workspace), os.path.realpath(workspace))

    @property
    def exists(self) -> bool:
        """Whether any checkpoint was ever begun here."""
        return (self.folder / "HEAD").exists()

    @property
    def is_sha256(self) -> bool:
        """Whether objects are named by sha256 and not by sha1."""
        return "objectformat" in (self.folder / "config").read_text(errors="replace").casefold()

    @property
    def index(self) -> Path:
        """The index of the last checkpoint."""
        return self.folder / "index"

    def known_tree(self, repository: Repository | None) -> str | None:
        """Return the tree that the index of the last checkpoint makes, if this object wrote both. None otherwise."""
        if self._tree is None or self._tree[0] != self._stamp(repository):
            return None
        return self._tree[1]

    def note_tree(self, repository: Repository | None, tree: str) -> None:
        """Remember the tree that the index as it is now makes."""
        self._tree = (self._stamp(repository), tree)

    def note_found(self, tree: str) -> None:
        """Remember that git has just written or found a tree."""
        self._commits.note_found(tree)

    def forget_tree(self) -> None:
        """Forget it."""
        self._tree = None

    def _stamp(self, repository: Repository | None) -> object:
        """Return what the tree comes from: the index, and the person's objects, which hold a part of it."""
        if repository is None:
            return stamp_of(self.index), None
        folder = stamp_of(repository.objects)
        return stamp_of(self.index), repository, folder and folder[0], stamp_of(f"{repository.objects}/pack")

    # ---- git ----

    def git(
        self,
        *arguments: str,
        given: bytes = b"",
        ok: tuple[int, ...] = (0,),
        limit_s: float = READ_S,
        index: Path | None = None,
        work_tree: str | None = None,
        low: bool = False,
    ) -> bytes:
        """Run git on the store and return its output. Raises GitFailed, GitMissing."""
        done = run_git(
            *arguments,
            cwd=self.workspace if work_tree is not None else str(self.folder),
            before=self.options(work_tree),
            environment=self.environment(index),
            given=given,
            ok=ok,
            limit_s=limit_s,
            low=low,
        )
        return done.output

    def options(self, work_tree: str | None = None) -> tuple[str, ...]:
        """Return what stands in front of each command."""
        tree = () if work_tree is None else ("--work-tree", work_tree)
        return ("--git-dir", str(self.folder), *tree, *_CONFIG)

    def environment(self, index: Path | None = None) -> dict[str, str]:
        """Return the environment of git on the store."""
        more = {} if index is None else {"GIT_INDEX_FILE": str(index)}
        return git_environment({**IDENTITY, **more})

    # ---- making it ----

    def prepare(self, limit_s: float) -> Repository | None:
        """Make the store if it is not there, and have it know the person's repository as it is now.

        Raises GitFailed, GitMissing, OSError.
        """
        repository = self._finder.find(limit_s)
        if not self.exists:
            self._make(repository, limit_s)
        if repository is not None:
            _write_if_new(
                self.folder / "objects/info/alternates", os.path.realpath(repository.objects) + "\n"
            )
            exclude = Path(repository.exclude)
            if exclude.is_file():
                _write_if_new(self.folder / "info/exclude", exclude.read_text(errors="surrogateescape"))
        return repository

    def _make(self, repository: Repository | None, limit_s: float) -> None:
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(making, ignore_errors=True)
        form = "sha1" if repository is None else repository.object_format
        run_git(
            "init", "-q", "--bare", "--template=", f"--object-format={form}", str(making), limit_s=limit_s
        )
        for name in ("info", "objects/info"):
            (making / name).mkdir(exist_ok=True)
        (making / "info/attributes").write_text(_ATTRIBUTES)
        (making / "workspace").write_bytes(os.fsencode(self.workspace))
        making.chmod(0o700)
        making.rename(self.folder)

    @contextmanager
    def locked(self, wait_s: float) -> Iterator[None]:
        """Hold the workspace's lock. Raises StoreBusy if somebody else holds it for so long; OSError."""
        self.folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self.folder.with_name(f"{self.folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            start = time.monotonic()
            while not _try_lock(descriptor):
                waited = time.monotonic() - start
                if waited >= wait_s:
                    raise StoreBusy(self.workspace)
                # Rarer and rarer: dozens of sessions may wait for one folder, and each look wakes a process.
                time.sleep(min(_FIRST_LOOK_S + waited / 8, _LAST_LOOK_S))
            yield
        finally:
            os.close(descriptor)

    # ---- keeping and finding ----

    def keep(
        self,
        session_id: str,
        checkpoint_id: str,
        tree: str,
        note: Mapping[str, Any],
        limit_s: float,
        *,
        is_new: bool = True,
    ) -> None:
        """Keep a tree as a checkpoint of a session. Call it with the store locked.

        `is_new`: git has just written or found the tree.

        Raises GitFailed, GitMissing, OSError.
        """
        message = json.dumps(note).encode()
        ref = f"{session_ref(session_id)}/{checkpoint_id}"
        if self._commits.can_write(tree, is_new=is_new):
            self._commits.write(ref, tree, message)
            return
        commit = self.git("commit-tree", tree, given=message, limit_s=limit_s, low=True).decode().strip()
        self.git("update-ref", ref, commit, limit_s=limit_s, low=True)
        self._commits.note_found(tree)

    def find(self, session_id: str, checkpoint_id: str) -> Kept:
        """Return a checkpoint of a session. Raises NoCheckpoint, GitMissing."""
        if not self.exists or not checkpoint_id.replace("-", "").isalnum():
            raise NoCheckpoint(checkpoint_id)
        try:
            name = f"{session_ref(session_id)}/{checkpoint_id}"
            told = self.git("log", "-1", "--format=%H %T%n%B", name, "--").decode("utf-8", "replace")
            head, _, body = told.partition("\n")
            commit, tree = head.split()
            note = json.loads(body)
            return Kept(commit, tree, self.left_out(note.get("left")), note)
        except (GitFailed, ValueError, AttributeError) as exc:
            raise NoCheckpoint(checkpoint_id) from exc

    def names(self, session_id: str) -> set[str]:
        """Return the ids of all checkpoints of a session. Raises GitFailed, GitMissing."""
        if not self.exists:
            return set()
        folder = session_ref(session_id) + "/"
        told = self.git("for-each-ref", "--format=%(refname)", folder).decode("utf-8", "replace")
        return {line.removeprefix(folder) for line in told.splitlines()}

    def left_out(self, blob: str | None) -> dict[bytes, str]:
        """Return the paths of a list that `write_left_out` wrote."""
        if blob is None:
            return {}
        fields = self.git("cat-file", "blob", blob).split(b"\0")
        return {path: reason.decode() for reason, path in zip(fields[0::2], fields[1::2], strict=False)}

    def write_left_out(self, left_out: Mapping[bytes, str], limit_s: float) -> str | None:
        """Keep a list of left-out paths; the same list takes no room twice."""
        if not left_out:
            return None
        data = b"\0".join(b"\0".join((reason.encode(), path)) for path, reason in sorted(left_out.items()))
        return self.git("hash-object", "-w", "--stdin", given=data, limit_s=limit_s).decode().strip()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_if_new(path: Path, text: str) -> None:
    raw = text.encode("utf-8", "surrogateescape")
    if not path.is_file() or path.read_bytes() != raw:
        making = path.with_name(path.name + ".new")
        making.write_bytes(raw)
        making.replace(path)
