"""Lists a folder of a workspace, and the folders that a new session may work in. Blocks: called on threads."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import attrs

from bridgehub.workspace.git import GitFailed, GitMissing, filter_overrides, git_environment, run_git
from bridgehub.workspace.paths import PathRefused, followed, open_folder, shown
from transport.v3.events import timestamp
from transport.workspace.matching import Candidate

__all__ = [
    "MAX_ENTRIES",
    "FolderEntry",
    "Roots",
    "describe_folder",
    "kind_of",
    "list_folder",
    "list_folders",
    "look_up",
]

MAX_ENTRIES: Final = 2000
"""Entries of one folder; further ones are left out and reported."""

MAX_FOLDERS: Final = 500
"""Folders of one folder that the picker shows."""

GIT_S: Final = 2.0
"""How long git may take to list ignored files, or to check whether a repository is dirty."""

PICKER_S: Final = 2.0
"""How long all repositories of one folder may take; `dirty` of the rest is null."""


@attrs.frozen
class FolderEntry:
    """One name in a folder. `modified`: seconds since 1970; `ignored`: git ignores it."""

    name: str
    kind: str
    size: int
    modified: float
    ignored: bool = False


def kind_of(mode: int) -> str:
    """Return the word for a kind of file."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def list_folder(root: str, path: str) -> tuple[list[FolderEntry], bool]:
    """Return the entries of a folder below `root`, folders first, and whether some are left out.

    Raises PathRefused.
    """
    with open_folder(root, path) as folder, os.scandir(folder) as scanned:
        found = [entry for entry in map(_entry, islice(scanned, MAX_ENTRIES + 1)) if entry is not None]
    listed = sorted(
        found[:MAX_ENTRIES], key=lambda one: (one.kind != "folder", one.name.casefold(), one.name)
    )
    ignored = _ignored(os.path.join(root, path), [one.name for one in listed])
    marked = [attrs.evolve(one, name=shown(one.name), ignored=one.name in ignored) for one in listed]
    return marked, len(found) > MAX_ENTRIES


def _entry(found: os.DirEntry[str]) -> FolderEntry | None:
    try:
        told = found.stat(follow_symlinks=False)
    except OSError:
        return None
    return FolderEntry(found.name, kind_of(told.st_mode), told.st_size, told.st_mtime)


def _ignored(folder: str, names: Sequence[str]) -> frozenset[str]:
    if not names:
        return frozenset()
    given = b"".join(b"./" + os.fsencode(name) + b"\0" for name in names)
    try:
        done = run_git("check-ignore", "-z", "--stdin", cwd=folder, given=given, ok=(0, 1), limit_s=GIT_S)
    except (GitFailed, GitMissing):  # not a repository, or not a readable one: nothing is ignored
        return frozenset()
    return frozenset(os.fsdecode(name[2:]) for name in done.output.split(b"\0") if name)


def look_up(root: str, found: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return the entries of a search's results; files removed meanwhile are left out."""
    entries: list[dict[str, Any]] = []
    for one in found:
        try:
            with followed(root, os.path.dirname(one.path)) as folder:
                told = os.stat(
                    os.path.join(folder.name or ".", os.path.basename(one.path)),
                    dir_fd=folder.parent,
                    follow_symlinks=False,
                )
        except (OSError, PathRefused):
            continue
        entries.append(
            {
                "name": os.path.basename(one.path),
                "path": one.path,
                "kind": kind_of(told.st_mode),
                "size": told.st_size,
                "modified": timestamp(int(told.st_mtime * 1000)),
                "ignored": one.ignored,
            }
        )
    return entries


# ---- the picker ----


@attrs.frozen
class Roots:
    """The folders that sessions may work in, and everything below them."""

    folders: tuple[Path, ...]

    def allows(self, folder: Path) -> bool:
        """Return whether `folder`, its links followed, is one of them or below one."""
        real = Path(os.path.realpath(folder))
        return any(real.is_relative_to(os.path.realpath(root)) for root in self.folders)

    def check(self, folder: Path) -> None:
        """Raise PathRefused unless `folder` exists and sessions may work in it."""
        if not self.allows(folder):
            raise PathRefused("outside", "The folder is outside of workspace_roots.")
        try:
            is_folder = stat.S_ISDIR(folder.stat().st_mode)
        except OSError:
            raise PathRefused("missing", "There is no such folder.") from None
        if not is_folder:
            raise PathRefused("not_a_folder", "That is not a folder.")


def list_folders(roots: Roots, path: str | None) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folders of a folder, for the choice of a workspace. Raises PathRefused."""
    folder = roots.folders[0] if path is None else Path(path)
    if path is not None and ("\0" in path or len(path) > 4096 or not folder.is_absolute()):
        raise PathRefused("bad_path", "path must be an absolute path of at most 4096 characters.")
    roots.check(folder)
    real = Path(os.path.realpath(folder))
    try:
        with os.scandir(real) as scanned:
            names = sorted(islice(_folder_names(scanned), MAX_FOLDERS), key=lambda one: (one[0] == ".", one))
    except OSError:
        raise PathRefused("unreadable", "The server has no permission to read that folder.") from None
    until = time.monotonic() + PICKER_S
    return real, [describe_folder(real / name, until) for name in names]


def _folder_names(scanned: Iterator[os.DirEntry[str]]) -> Iterator[str]:
    for entry in scanned:
        with suppress(OSError):
            if entry.name != ".git" and entry.is_dir(follow_symlinks=False):
                yield entry.name


def describe_folder(folder: Path, until: float) -> dict[str, Any]:
    """Return a folder as the picker shows it; git may run until `until` of the monotonic clock."""
    return {"name": shown(folder.name), "path": shown(str(folder)), "git": _git_of(folder, until)}


def _git_of(folder: Path, until: float) -> dict[str, Any] | None:
    head = _read_head(folder / ".git")
    if head is None:
        return None
    branch = head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else head[:12]
    left = min(until - time.monotonic(), GIT_S)
    return {"branch": branch, "dirty": _is_dirty(str(folder), left) if left > 0 else None}


def _read_head(git: Path) -> str | None:
    """Return the content of HEAD in a repository or a linked worktree; None if there is none."""
    try:
        if git.is_file():
            told = git.read_text(errors="replace")[:4096]
            if not told.startswith("gitdir: "):
                return None
            git = git.parent / told.removeprefix("gitdir: ").strip()
        with (git / "HEAD").open(errors="replace") as file:
            return file.read(4096).strip()
    except OSError:
        return None


def _is_dirty(folder: str, limit_s: float) -> bool | None:
    try:
        environment = git_environment(filter_overrides(folder, limit_s))
        done = run_git(
            *("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=all"),
            cwd=folder,
            environment=environment,
            limit_s=limit_s,
        )
    except (GitFailed, GitMissing):
        return None
    return bool(done.output)
