"""Compares the states of a workspace, and reads its files as they were, from checkpoints. Blocks: called on threads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import attrs

from bridgehub.workspace.changes import compare
from bridgehub.workspace.git import GitFailed, GitMissing
from bridgehub.workspace.paths import PathRefused, check_path, refusal_of_workspace
from bridgehub.workspace.store import CheckpointStore, Kept, NoCheckpoint, StoreBusy
from bridgehub.workspace.take import Limits, TooMuch, snapshot
from transport.workspace.reading import OpenFile, as_text

__all__ = ["CannotCompare", "Compares", "Wanted"]

NOW_LIMITS: Final = Limits(first_s=20.0, later_s=10.0)
"""The limits for saving the current files: a person waits for it."""


class CannotCompare(Exception):
    """These checkpoints cannot be compared. `code`: `no_checkpoint`, or `busy` if a retry may help."""

    def __init__(self, code: str, content: str) -> None:
        super().__init__(content)
        self.code = code


@attrs.frozen
class Wanted:
    """The wanted changes: between two checkpoints; `after` None: the current files. `path`: only that file."""

    before: str
    after: str | None
    path: str | None = None


@attrs.frozen
class Compares:
    """The checkpoints of one session's workspace. `folder`: of all stores."""

    folder: Path
    workspace: str
    session_id: str

    @property
    def store(self) -> CheckpointStore:
        """The workspace's store."""
        return CheckpointStore.of(str(self.folder), self.workspace)

    def why_none(self) -> CannotCompare:
        """Return the error for a workspace without a checkpoint."""
        reason = refusal_of_workspace(self.workspace, os.environ.get("HOME", ""), str(self.folder.parent))
        more = f": {reason}" if reason else ""
        return CannotCompare("no_checkpoint", f"The files were not saved there{more}.")

    def kept(self) -> set[str]:
        """Return the ids of the session's stored checkpoints. Raises CannotCompare."""
        try:
            return self.store.names(self.session_id)
        except (GitFailed, GitMissing) as exc:
            raise CannotCompare("no_checkpoint", f"The saved states cannot be read: {exc}.") from exc

    def changes(self, wanted: Wanted) -> dict[str, Any]:
        """Return the differences, in the form of `/changes`. Raises CannotCompare."""
        store = self.store
        path = None if wanted.path is None else os.fsencode(wanted.path)
        try:
            before = store.find(self.session_id, wanted.before)
            after = self._now(store) if wanted.after is None else store.find(self.session_id, wanted.after)
            found = compare(store, before, after, path=path)
        except NoCheckpoint as exc:
            raise CannotCompare("no_checkpoint", "That state of the files is not stored any more.") from exc
        except StoreBusy as exc:
            raise CannotCompare("busy", "The folder is being saved. Try again in a moment.") from exc
        except (GitFailed, GitMissing, TooMuch, OSError) as exc:
            raise CannotCompare("no_checkpoint", f"The changes cannot be computed: {exc}.") from exc
        ends = {"from": wanted.before, "to": wanted.after}
        return {**ends, "files": found.files, "truncated": found.truncated}

    def _now(self, store: CheckpointStore) -> Kept:
        taken = snapshot(store, NOW_LIMITS)
        return Kept("", taken.tree, taken.left_out)

    def file(self, path: str, checkpoint_id: str) -> OpenFile:
        """Return a file as it was; for a link its target. Raises PathRefused, CannotCompare."""
        check_path(path)
        names = [name for name in path.split("/") if name not in ("", ".")]
        if ".." in names:
            raise PathRefused("outside", "The path leaves the workspace.")
        store = self.store
        try:
            kept = store.find(self.session_id, checkpoint_id)
            mode, blob = _entry(store, kept.tree, "/".join(names))
            data = store.git("cat-file", "blob", blob)
        except NoCheckpoint as exc:
            raise CannotCompare("no_checkpoint", "That state of the files is not stored any more.") from exc
        except (GitFailed, GitMissing) as exc:
            raise CannotCompare("no_checkpoint", f"The file cannot be read: {exc}.") from exc
        text = data.decode("utf-8", "replace") if mode == "120000" else as_text(data)
        return OpenFile(len(data), text, data=data)


def _entry(store: CheckpointStore, tree: str, path: str) -> tuple[str, str]:
    """Return mode and blob of a file in a tree. Raises PathRefused, GitFailed, GitMissing."""
    if not path:
        raise PathRefused("not_a_file", "That is not a file.")
    told = store.git("--literal-pathspecs", "ls-tree", "-z", tree, "--", path)
    for line in told.split(b"\0"):
        meta, _, name = line.partition(b"\t")
        if name == os.fsencode(path):
            mode, kind, blob = meta.decode().split(" ")
            if kind != "blob":
                raise PathRefused("not_a_file", "That is not a file.")
            return mode, blob
    raise PathRefused("missing", "There was no such file.")
