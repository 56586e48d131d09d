"""Runs git so that nothing which a folder brings runs with it, and nothing of the folder's repository changes.

A repository's own configuration can name programs: a file watcher, hooks, filters. Here git runs without them and
takes no optional lock. Every exit status is looked at. Everything here blocks and is called on a thread.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence

import attrs

__all__ = ["GIT_SAFE", "GitFailed", "GitMissing", "filter_overrides", "git_environment", "run_git"]

GIT_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false"),
    *(
        "-c",
        "core.quotePath=false",
        "-c",
        "color.ui=false",
        "-c",
        "gc.auto=0",
        "-c",
        "maintenance.auto=false",
    ),
)
"""Options of every call: nothing that a repository names is started."""

ERROR_CHARS = 400
"""Of git's own words in an error."""

_FILTER = re.compile(r"filter\..*\.(clean|smudge|process|required)", re.DOTALL)


class GitMissing(Exception):
    """There is no git that can be run."""


class GitFailed(Exception):
    """Git ended with another status than expected, or took too long; the text is git's own."""

    def __init__(self, command: str, status: int | None, words: str) -> None:
        told = "took too long" if status is None else f"ended with {status}"
        super().__init__(f"git {command} {told}: {words}".rstrip(": "))
        self.status = status
        self.words = words


@attrs.frozen
class Done:
    """What a call of git gave."""

    status: int
    output: bytes


def git_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a call: the process's own without what would turn git elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **(more or {})}


def run_git(
    *arguments: str,
    cwd: str | None = None,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    given: bytes | None = None,
    ok: tuple[int, ...] = (0,),
    limit_s: float = 30.0,
) -> Done:
    """Run git once.

    Args:
        arguments: the command and what belongs to it.
        cwd: where it runs.
        before: options in front of the command.
        environment: in place of `git_environment()`.
        given: its input; None: nothing.
        ok: exit statuses that are no failure.
        limit_s: it is killed after this.

    Raises:
        GitFailed: another status, or `limit_s` is over.
        GitMissing: git cannot be started.
    """
    command = ["git", *GIT_SAFE, *before, *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=git_environment() if environment is None else dict(environment),
            input=b"" if given is None else given,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise GitFailed(arguments[0], None, "") from exc
    except OSError as exc:
        raise GitMissing(f"git cannot be started: {exc.strerror}") from exc
    if done.returncode not in ok:
        words = done.stderr.decode("utf-8", "replace").strip()[-ERROR_CHARS:]
        raise GitFailed(arguments[0], done.returncode, words)
    return Done(done.returncode, done.stdout)


def filter_overrides(folder: str, limit_s: float = 5.0) -> dict[str, str]:
    """Return environment variables that switch off every filter which the configuration seen in `folder` names.

    Raises GitFailed, GitMissing.
    """
    listed = run_git("config", "-z", "--name-only", "--list", cwd=folder, limit_s=limit_s, ok=(0, 1))
    names = {name for name in listed.output.decode("utf-8", "replace").split("\0") if _FILTER.fullmatch(name)}
    overrides = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(sorted(names)):
        overrides[f"GIT_CONFIG_KEY_{number}"] = name
        overrides[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.endswith(".required") else ""
    return overrides
