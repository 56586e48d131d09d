"""Runs git so that nothing which a folder brings runs with it, and nothing of the folder's repository changes.

A repository's own configuration can name programs: a file watcher, hooks, filters. Here git runs without them and
takes no optional lock. Every exit status is looked at. Everything here blocks and is called on a thread.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import attrs

__all__ = ["Done", "GitFailed", "GitMissing", "filter_overrides", "git_environment", "run_git", "stream_git"]

GIT_SAFE = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false"),
    *("-c", "color.ui=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
)
"""Options of every call: nothing that a repository names is started."""

ERROR_CHARS = 400
"""Of git's own words in an error."""

LOW_PRIORITY = 10
"""How nice git is when it works in the background."""

_FILTER = re.compile(r"filter\..*\.(clean|smudge|process|required)", re.DOTALL)


class GitMissing(Exception):
    """There is no git that can be run."""


class GitFailed(Exception):
    """Git ended with another status than expected, or took too long; the text is git's own.

    `status`: None if it took too long.
    """

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
    given: bytes = b"",
    ok: tuple[int, ...] = (0,),
    limit_s: float = 30.0,
    low: bool = False,
) -> Done:
    """Run git once.

    Args:
        arguments: the command and what belongs to it.
        cwd: where it runs.
        before: options in front of the command.
        environment: in place of `git_environment()`.
        given: its input.
        ok: exit statuses that are not a failure.
        limit_s: it is killed after this.
        low: at low priority.

    Raises:
        GitFailed: another status, or `limit_s` is over.
        GitMissing: git cannot be started.
    """
    process = _start([*before, *arguments], cwd, environment, low=low, has_input=True)
    with process:
        try:
            output, errors = process.communicate(given, timeout=max(limit_s, 0.01))
        except subprocess.TimeoutExpired as exc:
            process.kill()
            raise GitFailed(arguments[0], None, "") from exc
        except BaseException:
            process.kill()
            raise
    return _checked(arguments[0], process.returncode, output, errors, ok)


@contextmanager
def stream_git(
    *arguments: str,
    cwd: str | None = None,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    limit_s: float = 30.0,
    low: bool = False,
) -> Iterator[Iterator[bytes]]:
    """Give git's output a chunk after the other, for as long as the block wants it; then it is killed.

    Read to its end, another exit status than 0 is an error.

    Raises:
        GitFailed, GitMissing: as `run_git`.
    """
    process = _start([*before, *arguments], cwd, environment, low=low, has_input=False)
    timer = threading.Timer(max(limit_s, 0.01), process.kill)
    timer.daemon = True
    timer.start()

    def chunks() -> Iterator[bytes]:
        assert process.stdout is not None
        while chunk := process.stdout.read1(1 << 20):  # type: ignore[attr-defined]
            yield chunk
        process.wait()
        if process.returncode != 0:
            raise GitFailed(arguments[0], None if process.returncode == -9 else process.returncode, "")

    with process:
        try:
            yield chunks()
        finally:
            timer.cancel()
            process.kill()


def _start(
    arguments: Sequence[str],
    cwd: str | None,
    environment: Mapping[str, str] | None,
    *,
    low: bool,
    has_input: bool,
) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            ["git", *GIT_SAFE, *arguments],
            cwd=cwd,
            env=git_environment() if environment is None else dict(environment),
            stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if has_input else subprocess.DEVNULL,
        )
    except OSError as exc:
        raise GitMissing(f"git cannot be started: {exc.strerror}") from exc
    if low:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, LOW_PRIORITY)
    return process


def _checked(command: str, status: int, output: bytes, errors: bytes, ok: tuple[int, ...]) -> Done:
    if status not in ok:
        raise GitFailed(command, status, errors.decode("utf-8", "replace").strip()[-ERROR_CHARS:])
    return Done(status, output)


def filter_overrides(folder: str, limit_s: float = 5.0, *, local: bool = False) -> dict[str, str]:
    """Return environment variables that switch off every filter which the configuration seen in `folder` names.

    With `local` only those that the repository itself names: the person's own are the person's.

    Raises GitFailed, GitMissing.
    """
    scope = ("--local", "--includes") if local else ()
    listed = run_git("config", "-z", "--name-only", "--list", *scope, cwd=folder, limit_s=limit_s, ok=(0, 1))
    names = {name for name in listed.output.decode("utf-8", "replace").split("\0") if _FILTER.fullmatch(name)}
    overrides = {"GIT_CONFIG_COUNT": str(len(names))}
    for number, name in enumerate(sorted(names)):
        overrides[f"GIT_CONFIG_KEY_{number}"] = name
        overrides[f"GIT_CONFIG_VALUE_{number}"] = "false" if name.endswith(".required") else ""
    return overrides
