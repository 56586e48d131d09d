"""`builderos doctor`: reports what a server would miss on this machine, and how to fix it."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import trio

from bridgehub.agents.claude.settings import config_folder
from bridgehub.workspace.git import GitFailed, GitMissing, run_git
from bridgehub.workspace.prune import usage
from builderos.agent_checks import Finding, examine_agent, examine_codex_sandbox
from builderos.client.wire.http import call
from builderos.client.wire.server import Find, Where, with_server
from builderos.config import ClaudeAgent, CodexAgent, Config, ConfigError, config_path, load_config
from builderos.desk_hook import DeskHook, describe
from builderos.exit_status import FAILED, OK
from builderos.ids import wall_clock_ms
from builderos.options import as_path
from builderos.push_checks import push_lines
from builderos.slow_checks import explain
from storage.data_folder import CHECKPOINTS, DATABASE_NAME, WORKTREES, read_holder
from storage.errors import StorageError
from storage.postgres.home import HOME_NAME, read_home
from storage.read_only import count_sessions, open_folder

__all__ = ["LEAST_GIT", "add_doctor", "examine", "git_lines", "needed_packages", "run_doctor", "run_slow"]

PYTHON = (3, 11)

PROJECT = "builderos-mobile"

LEAST_GIT = (2, 38)
"""The first version of git that merges without touching files."""

_INSTALL = "install git 2.38 or newer"

LEAST_FREE_BYTES = 1024 * 1024 * 1024
"""Below this a long conversation with uploads may fill the disk."""

CLOCK_SLACK_S = 60
"""A file of ours may be this much newer than the clock, because file systems round times."""


def run_doctor(data: Path, config_file: Path | None) -> int:
    """Print the report; return 1 if something that a server needs is broken, else 0."""
    findings = examine(data, config_file, os.environ, Path.home())
    for finding in findings:
        sys.stdout.write(f"{finding}\n")
    return FAILED if any(finding.state == "broken" for finding in findings) else OK


def examine(
    data: Path, config_file: Path | None, environment: Mapping[str, str], home: Path
) -> list[Finding]:
    """Return all findings; changes nothing and does not create a missing folder."""
    findings = [_python(), *_packages()]
    try:
        config = load_config(config_path(config_file, data))
    except ConfigError as error:
        config = Config()
        findings.append(Finding("broken", "config", str(error), "fix that key"))
    else:
        findings += [Finding("note", "config", warning) for warning in config.warnings()]
    for name, agent in config.agents.items():
        own = {**environment, **agent.env}
        findings += examine_agent(name, agent, own, home)
        if isinstance(agent, CodexAgent):
            findings += examine_codex_sandbox(f"agent {name} sandbox", own, home)
    if any(isinstance(agent, ClaudeAgent) for agent in config.agents.values()):
        hook = DeskHook(config_folder(dict(environment)) / "settings.json", data.expanduser().absolute())
        findings.append(Finding("note", "desk", describe(hook)))
    is_sqlite = not (data / HOME_NAME).exists()
    push = push_lines(data / DATABASE_NAME, config.push) if is_sqlite else ()
    return [*findings, *git_lines(data), *push, *_data_folder(data)]


# ---- Python and packages ----


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("broken", "python", version, "make PYTHON=python3.11 install")
    return Finding("ok", "python", f"{version} at {sys.executable}")


def _packages() -> Iterable[Finding]:
    missing = [name for name in needed_packages() if not _is_installed(name)]
    if missing:
        yield Finding("broken", "packages", f"missing: {', '.join(missing)}", "make install")
    else:
        yield Finding("ok", "packages", "all there")


def needed_packages() -> list[str]:
    """Return the names of the packages that a server needs."""
    try:
        lines = importlib.metadata.requires(PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return [PROJECT]
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# ---- git ----


def git_lines(data: Path) -> Iterable[Finding]:
    """Return whether git is good enough for checkpoints, and how much space the checkpoints take."""
    if shutil.which("git") is None:
        yield Finding("note", "git", "not found: no changes are shown, and nothing can be undone", _INSTALL)
        return
    try:
        told = run_git("--version", limit_s=5.0).output.decode("utf-8", "replace")
    except (GitFailed, GitMissing) as exc:
        yield Finding("note", "git", str(exc), _INSTALL)
        return
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)*", told)
    version = (0, 0) if found is None else (int(found[1]), int(found[2]))
    if version < LEAST_GIT:
        yield Finding("note", "git", f"{told.strip()} is too old for undo", _INSTALL)
    else:
        yield Finding("ok", "git", told.strip())
    if (data / CHECKPOINTS).is_dir():
        used = usage(data / CHECKPOINTS)
        detail = f"{used.checkpoints} of {used.stores} workspaces, {used.bytes / 1e6:.1f} MB; not in a backup"
        yield Finding("ok", "checkpoints", detail)
    if (data / WORKTREES).is_dir():
        count = sum(one.is_dir() for one in (data / WORKTREES).iterdir())
        yield Finding("ok", "worktrees", f"{count}; not in a backup")


# ---- the data folder ----


def _data_folder(data: Path) -> Iterable[Finding]:
    subject = "data folder"
    if not data.exists():
        yield _not_made_yet(data)
        return
    if not data.is_dir() or not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("broken", subject, f"{data} cannot be written", f"chown or chmod {data}")
        return
    holder = read_holder(data)
    held = f"held by {holder}" if holder is not None and holder.is_running() else "held by nobody"
    yield Finding("ok", subject, f"{data}, {held}")
    if data.stat().st_mode & 0o077:
        yield Finding("note", subject, "other users of this machine may read it", f"chmod 700 {data}")
    yield _disk(data)
    yield _database(data / DATABASE_NAME)
    yield _hub_clock(data / "hubs")


def _not_made_yet(data: Path) -> Finding:
    parent = next(path for path in data.parents if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return Finding(
            "broken", "data folder", f"{data} cannot be created in {parent}", "give another --data"
        )
    return Finding("ok", "data folder", f"the first start creates {data}")


def _disk(data: Path) -> Finding:
    used = sum(path.lstat().st_size for path in data.rglob("*") if not path.is_dir())
    free = shutil.disk_usage(data).free
    detail = f"{used / 1e6:.1f} MB used, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return Finding("note", "disk", detail, "make room, or give another --data")
    return Finding("ok", "disk", detail)


def _database(path: Path) -> Finding:
    """Read the database without changing it; a server may have it open."""
    try:
        home = read_home(path.parent)
        if home is not None:
            count = trio.run(_count_in_postgres, path.parent)
            return Finding("ok", "database", f"{count} sessions in the {home.name}")
        if not path.exists():
            return Finding("ok", "database", "the first start creates it")
        count = count_sessions(path)
    except StorageError as error:
        return Finding("broken", "database", str(error), "restore a backup")
    return Finding("ok", "database", f"{count} sessions")


async def _count_in_postgres(data: Path) -> int:
    async with open_folder(data) as reading:
        return await reading.catalog.count()


def _hub_clock(hubs: Path) -> Finding:
    """Check whether files of hubs lie in the future: then the clock was set back, and times are unreliable."""
    newest = max((path.lstat().st_mtime for path in hubs.glob("*")), default=0.0)
    ahead_s = newest - wall_clock_ms() / 1000
    if ahead_s > CLOCK_SLACK_S:
        return Finding("note", "clock", f"a hub's folder is {ahead_s:.0f} s in the future", "set the clock")
    return Finding("ok", "clock", "agrees with the hubs' folders")


def run_slow(where: Where) -> int:
    """Print where the delay of each device comes from, the slowest first; return the exit status."""

    def work(find: Find) -> int:
        server = find()
        answer = call(server, "GET", "/api/delays")
        busy = os.getloadavg()[0] / (os.cpu_count() or 1) if server.is_own else None
        for finding in explain(answer, busy):
            sys.stdout.write(f"{finding}\n")
        return OK

    return with_server(where, work)


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--config", type=as_path, metavar="FILE", help="the server's config file")
    parser.add_argument("--verify", action="store_true", help="check all stored data instead (can be slow)")
    parser.add_argument(
        "--slow", action="store_true", help="report where each device's delay comes from instead"
    )
    parser.add_argument("--url", help="with --slow: the server's address")
    parser.add_argument("--key", help="with --slow: a key with the scope admin")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.verify:
        from builderos.commands.verify import run_verify

        return run_verify(arguments.data)
    if arguments.slow:
        return run_slow((arguments.data, arguments.url, arguments.key))
    return run_doctor(arguments.data, arguments.config)
