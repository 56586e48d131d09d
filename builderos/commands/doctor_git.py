"""Reports whether git is good enough for checkpoints, and how much space the checkpoints take."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from bridgehub.workspace.git import GitFailed, GitMissing, run_git
from bridgehub.workspace.prune import usage
from storage.data_folder import CHECKPOINTS, WORKTREES

__all__ = ["LEAST_GIT", "git_lines"]

LEAST_GIT = (2, 38)
"""The first version of git that merges without touching files."""

_INSTALL = "install git 2.38 or newer"


def git_lines(data: Path) -> Iterable[tuple[bool, str, str, str]]:
    """Yield, of each thing looked at: whether it is good, what it is, what was found, and how to fix it."""
    if shutil.which("git") is None:
        yield False, "git", "not found: no changes are shown, and nothing can be undone", _INSTALL
        return
    try:
        told = run_git("--version", limit_s=5.0).output.decode("utf-8", "replace")
    except (GitFailed, GitMissing) as exc:
        yield False, "git", str(exc), _INSTALL
        return
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", told)
    version = (0, 0) if found is None else (int(found[1]), int(found[2]))
    if version < LEAST_GIT:
        yield False, "git", f"{told.strip()} is too old for undo", _INSTALL
    else:
        yield True, "git", told.strip(), ""
    if (data / CHECKPOINTS).is_dir():
        used = usage(data / CHECKPOINTS)
        detail = f"{used.checkpoints} of {used.stores} workspaces, {used.bytes / 1e6:.1f} MB; not in a backup"
        yield True, "checkpoints", detail, ""
    if (data / WORKTREES).is_dir():
        count = sum(one.is_dir() for one in (data / WORKTREES).iterdir())
        yield True, "worktrees", f"{count}; not in a backup", ""
