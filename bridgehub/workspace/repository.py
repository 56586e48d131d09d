"""What is known of the repository that a workspace lies in, and what of its index a checkpoint may begin with.

Theory of operation. The person's index shows which files are unchanged since it was written, so that a first
checkpoint of a large repository need not read them all. But an entry of it holds what git's filters made of a file,
not the file; an undo would write that. So an entry is taken only for a path without any attribute that changes
content. Whatever is odd (a conflict, a sparse checkout, a flag) makes the whole index useless, and every file is read.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import attrs

from bridgehub.workspace.git import GitFailed, git_environment, run_git

__all__ = ["Repository", "RepositoryFinder", "borrow_index", "find_repository", "stamp_of"]

_ATTRIBUTES = ("filter", "text", "eol", "crlf", "ident", "working-tree-encoding")
_HARMLESS = frozenset({b"unspecified", b"unset"})

_FATAL = 128
"""Git's exit status if there is no repository here, or none that it accepts."""


@attrs.frozen
class Repository:
    """Where things lie. `prefix`: of the workspace below `top`, empty or with a slash at its end."""

    top: str
    prefix: str
    objects: str
    index: str
    exclude: str
    object_format: str


def find_repository(workspace: str, limit_s: float) -> Repository | None:
    """Return the repository whose working tree holds `workspace`; None if there is none that counts.

    One that ignores the workspace does not count. Raises GitFailed, GitMissing.
    """
    told = run_git(
        *("rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "objects", "--git-path", "index"),
        *("--git-path", "info/exclude", "--show-object-format"),
        cwd=workspace,
        ok=(0, _FATAL),
        limit_s=limit_s,
    )
    parts = os.fsdecode(told.output).split("\n")
    if told.status == _FATAL or len(parts) != 7:
        return None
    if parts[1]:
        ignored = run_git("check-ignore", "-q", ".", cwd=workspace, ok=(0, 1, _FATAL), limit_s=limit_s)
        if ignored.status != 1:
            return None
    objects, index, exclude = (os.path.normpath(os.path.join(workspace, part)) for part in parts[2:5])
    return Repository(parts[0], parts[1], objects, index, exclude, parts[5])


@attrs.define(eq=False)
class RepositoryFinder:
    """Finds the repository of one workspace again and again, and asks git only if something may have changed.

    What git answered counts while the same `.git` with the same configuration lies in the workspace or above it. An
    answer that depends on more is not kept: no repository although one is there, or one that begins above.
    """

    workspace: str
    _found: tuple[list[object], Repository | None] | None = None

    def find(self, limit_s: float) -> Repository | None:
        """Return what `find_repository` does, with its errors."""
        stamps, is_any = self._look()
        if self._found is not None and self._found[0] == stamps:
            return self._found[1]
        found = find_repository(self.workspace, limit_s)
        lasts = not is_any if found is None else not found.prefix
        self._found = (stamps, found) if lasts else None
        return found

    def _look(self) -> tuple[list[object], bool]:
        """Return what a new answer would come from, and whether there is any repository. An empty `.git` is none."""
        stamps: list[object] = []
        is_any = False
        for folder in (self.workspace, *map(str, Path(self.workspace).parents)):
            at = os.path.join(folder, ".git")
            told = stamp_of(at)
            if told is not None and os.path.isdir(at):  # whose own time changes with every commit
                head = stamp_of(os.path.join(at, "HEAD"))
                is_any = is_any or head is not None
                stamps.append((told[0], head is None, stamp_of(os.path.join(at, "config"))))
            else:
                is_any = is_any or told is not None
                stamps.append(told)
        return stamps, is_any


def stamp_of(path: str | Path) -> tuple[int, ...] | None:
    """Return what changes if a file is written or replaced; None if there is none."""
    try:
        told = os.lstat(path)
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size, told.st_mode


def borrow_index(repository: Repository, target: Path, limit_s: float) -> list[bytes] | None:
    """Copy the person's index to `target`; return the paths whose entries must not be used.

    None if it cannot be used at all; then nothing is there. Raises GitMissing.
    """
    try:
        shutil.copyfile(repository.index, target)
        # What changed in the same moment in which the index was written is found by the index's own time.
        told = os.stat(repository.index)
        os.utime(target, ns=(told.st_atime_ns, told.st_mtime_ns))
        return _unusable(repository, target, limit_s)
    except (OSError, GitFailed, _Useless):
        target.unlink(missing_ok=True)
        return None


class _Useless(Exception):
    """The index is in a state that says too little of the files."""


def _unusable(repository: Repository, target: Path, limit_s: float) -> list[bytes]:
    environment = git_environment({"GIT_INDEX_FILE": str(target)})

    def git(*arguments: str, given: bytes = b"", ok: tuple[int, ...] = (0,)) -> bytes:
        top = repository.top
        done = run_git(
            *arguments, cwd=top, environment=environment, given=given, ok=ok, limit_s=limit_s, low=True
        )
        return done.output

    entries = [entry for entry in git("ls-files", "-z", "-v", "-s").split(b"\0") if entry]
    links: list[bytes] = []
    paths: list[bytes] = []
    for entry in entries:
        meta, _, path = entry.partition(b"\t")
        tag, mode, _, stage = meta.split(b" ")
        if tag != b"H" or stage != b"0":
            raise _Useless
        (links if mode == b"160000" else paths).append(path)
    if git("config", "--get", "core.autocrlf", ok=(0, 1)).strip() not in (b"", b"false"):
        raise _Useless
    if not paths:
        return links
    told = git("check-attr", "-z", "--stdin", *_ATTRIBUTES, given=b"\0".join(paths) + b"\0").split(b"\0")
    changed = {path for path, value in zip(told[0::3], told[2::3], strict=False) if value not in _HARMLESS}
    return [*links, *changed]
