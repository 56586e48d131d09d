"""Git worktrees of sessions: each on a branch `builderos/NAME`, in a folder of ours. Blocks.

`NAME.json` beside the folder says where it came from; it is there before the worktree is, and goes after it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import attrs

from bridgehub.workspace.git import GitFailed, GitMissing, filter_overrides, git_environment, run_git

__all__ = [
    "MAX_WORKTREES",
    "BadWorktree",
    "Worktree",
    "WorktreeState",
    "find_worktree",
    "make_worktree",
    "name_for",
    "repository_folder",
]

MAX_WORKTREES = 50
ADD_S = 120.0
LOOK_S = 5.0

_NAME = re.compile(r"(?![.-])(?!.*\.\.)[A-Za-z0-9._-]{1,64}", re.ASCII)


class BadWorktree(Exception):
    """A worktree cannot be made or removed; the text is git's own if git refused."""


@attrs.frozen
class WorktreeState:
    """How a worktree stands: commits that its base does not have, and whether files differ from its last commit."""

    ahead: int
    dirty: bool


@attrs.frozen
class Worktree:
    """`path`: its folder; `repository`: where it was made from; `base`: the branch or commit that it began at."""

    name: str
    path: Path
    repository: str
    base: str

    @property
    def branch(self) -> str:
        """Its own branch."""
        return f"builderos/{self.name}"

    def look(self) -> WorktreeState:
        """Look at it. Raises BadWorktree."""
        try:
            environment = git_environment(filter_overrides(str(self.path), local=True))
            status = run_git(
                *("status", "--porcelain", "-z", "--no-renames"),
                cwd=str(self.path),
                environment=environment,
                limit_s=LOOK_S,
            )
            told = run_git(
                "rev-list", "--count", f"{self.base}..{self.branch}", cwd=str(self.path), limit_s=LOOK_S
            )
            return WorktreeState(int(told.output), bool(status.output))
        except (GitFailed, GitMissing, ValueError, OSError) as exc:
            raise BadWorktree(f"The worktree cannot be read: {exc}") from exc

    def remove(self) -> None:
        """Remove the folder and the branch, whatever is in them. Raises BadWorktree."""
        try:
            run_git("worktree", "remove", "--force", str(self.path), cwd=self.repository, limit_s=ADD_S)
            run_git("branch", "-D", self.branch, cwd=self.repository, limit_s=LOOK_S, ok=(0, 1))
        except (GitFailed, GitMissing, OSError) as exc:
            if os.path.isdir(self.repository) and self.path.exists():
                raise BadWorktree(f"The worktree cannot be removed: {exc}") from exc
            shutil.rmtree(self.path, ignore_errors=True)
        _note_of(self.path).unlink(missing_ok=True)


def name_for(session_id: str) -> str:
    """Return the name of a session's worktree if nobody gave one."""
    name = re.sub(r"\.{2,}", ".", session_id).lstrip(".-")[:64]
    return name or "session"


def make_worktree(root: Path, name: str, workspace: str) -> str:
    """Make a worktree of the repository of `workspace`; return the folder in it that is like `workspace`.

    Raises BadWorktree.
    """
    if not _NAME.fullmatch(name):
        raise BadWorktree(
            "A worktree's name is 1 to 64 of A-Z a-z 0-9 . _ -, without .. and not beginning with . or -"
        )
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sum(one.is_dir() for one in root.iterdir()) >= MAX_WORKTREES:
        raise BadWorktree(f"There are {MAX_WORKTREES} worktrees already; delete some sessions first.")
    path = root / name
    try:
        told = run_git("rev-parse", "--show-toplevel", "--show-prefix", cwd=workspace, limit_s=LOOK_S)
        top, prefix = os.fsdecode(told.output).split("\n")[:2]
        base = _head_of(workspace)
        note = _note_of(path)
        with note.open("x") as file:
            json.dump({"repository": top, "base": base}, file)
        try:
            run_git(
                *("worktree", "add", "-q", "-b", f"builderos/{name}", str(path), "HEAD"),
                cwd=workspace,
                environment=git_environment(filter_overrides(workspace, local=True)),
                limit_s=ADD_S,
            )
        except BaseException:
            note.unlink(missing_ok=True)
            raise
    except FileExistsError:
        raise BadWorktree(f"There is a worktree {name} already.") from None
    except GitFailed as exc:
        raise BadWorktree(exc.words or str(exc)) from exc
    except (GitMissing, OSError) as exc:
        raise BadWorktree(str(exc)) from exc
    return os.path.normpath(os.path.join(path, prefix))


def _head_of(workspace: str) -> str:
    """Return the branch that is out, else the commit. Raises GitFailed, GitMissing."""
    told = run_git("symbolic-ref", "-q", "--short", "HEAD", cwd=workspace, limit_s=LOOK_S, ok=(0, 1))
    if told.status != 0:
        told = run_git("rev-parse", "HEAD", cwd=workspace, limit_s=LOOK_S)
    return os.fsdecode(told.output).strip()


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def repository_folder(root: Path, workspace: str) -> str:
    """Return the folder of the repository that a folder in a worktree of ours stands for; empty for any other folder."""
    found = find_worktree(root, workspace)
    if found is None:
        return ""
    return os.path.normpath(os.path.join(found.repository, os.path.relpath(workspace, found.path)))


def find_worktree(root: Path, workspace: str) -> Worktree | None:
    """Return the worktree of ours that a folder lies in; None if it lies in none."""
    try:
        parts = Path(workspace).relative_to(root).parts
        told = json.loads(_note_of(root / parts[0]).read_text())
        return Worktree(parts[0], root / parts[0], str(told["repository"]), str(told["base"]))
    except (ValueError, IndexError, OSError, KeyError, TypeError):
        return None
