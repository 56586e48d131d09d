"""`builderos doctor`: reports what a server would miss on this machine, and how to fix it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from bridgehub.agents.acp.known import known_of
from bridgehub.agents.claude.settings import config_folder
from builderos.client.terminal import one_line
from builderos.commands.doctor_git import git_lines
from builderos.config import (
    AcpAgent,
    Agent,
    ClaudeAgent,
    CodexAgent,
    Config,
    ConfigError,
    EchoAgent,
    config_path,
    load_config,
)
from builderos.desk_hook import DeskHook, describe
from builderos.exit_status import FAILED, OK
from builderos.ids import wall_clock_ms
from builderos.options import as_path
from storage.data_folder import DATABASE_NAME, read_holder
from storage.errors import StorageError
from storage.read_only import count_sessions

__all__ = ["Finding", "add_doctor", "examine", "examine_agent", "run_doctor"]

PYTHON = (3, 11)

PACKAGES = (
    "trio",
    "trio-websocket",
    "apsw",
    "cattrs",
    "attrs",
    "orjson",
    "hypercorn",
    "starlette",
    "psutil",
    "python-multipart",
    "markdown-it-py",
    "pygments",
    "nh3",
    "segno",
)

LEAST_FREE_BYTES = 1024 * 1024 * 1024
"""Below this a long conversation with uploads may fill the disk."""

CLOCK_SLACK_S = 60
"""A file of ours may be this much newer than the clock, because file systems round times."""

State = Literal["ok", "note", "broken"]


@attrs.frozen
class Finding:
    """One line of the report. `fix`: what to do; only `broken` makes the command fail."""

    state: State
    about: str
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        mark = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}[self.state]
        return f"{mark} {self.about}: {one_line(self.detail, 400)}{' → ' + self.fix if self.fix else ''}"


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
            findings += _codex_sandbox(f"agent {name} sandbox", own, home)
    if any(isinstance(agent, ClaudeAgent) for agent in config.agents.values()):
        hook = DeskHook(config_folder(dict(environment)) / "settings.json", data.expanduser().absolute())
        findings.append(Finding("note", "desk", describe(hook)))
    for good, about, detail, fix in git_lines(data):
        findings.append(Finding("ok" if good else "note", about, detail, fix))
    return [*findings, *_data_folder(data)]


# ---- Python and packages ----


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("broken", "python", version, "make PYTHON=python3.11 install")
    return Finding("ok", "python", f"{version} at {sys.executable}")


def _packages() -> Iterable[Finding]:
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        yield Finding("broken", "packages", f"missing: {', '.join(missing)}", "make install")
    else:
        yield Finding("ok", "packages", "all there")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# ---- agents ----


def examine_agent(name: str, agent: Agent, environment: Mapping[str, str], home: Path) -> Iterable[Finding]:
    """Return what one agent lacks, by looking only at files and variables."""
    subject = f"agent {name}"
    if isinstance(agent, ClaudeAgent):
        yield _claude(subject, agent, environment, home)
    elif isinstance(agent, CodexAgent):
        yield _codex(subject, agent, environment, home)
    elif isinstance(agent, EchoAgent):
        yield Finding("ok", subject, "needs nothing")
    else:
        program = agent.command[0]
        known = known_of(agent.command) if isinstance(agent, AcpAgent) else None
        if known is not None and shutil.which(program, path=environment.get("PATH")) is None:
            yield Finding("note", subject, f"{program} is not installed", known.install)
        elif shutil.which(program, path=environment.get("PATH")) is None:
            yield Finding("note", subject, f"{program} is not found", "fix its command in the config")
        else:
            yield Finding("ok", subject, f"{program} is installed")


def _claude(subject: str, agent: ClaudeAgent, environment: Mapping[str, str], home: Path) -> Finding:
    package = importlib.util.find_spec("claude_agent_sdk")
    if package is None or package.origin is None:
        return Finding("note", subject, "the Claude Agent SDK is not installed", "make install")
    bundled = Path(package.origin).parent / "_bundled" / "claude"
    program = Path(agent.cli_path) if agent.cli_path else bundled
    if not os.access(program, os.X_OK):
        return Finding("note", subject, f"the program {program} does not exist", "make install")
    folder = Path(environment.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    variables = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
    signed_in = _first_set(environment, variables) or _there(folder / ".credentials.json")
    if signed_in:
        return Finding("ok", subject, f"installed, signed in by {signed_in}")
    if sys.platform == "darwin":  # the keychain stores it there, and asks a person before it answers
        return Finding("note", subject, "installed; only the keychain knows whether it is signed in")
    return Finding("note", subject, "installed, not signed in", f"run {program} and type /login")


def _codex(subject: str, agent: CodexAgent, environment: Mapping[str, str], home: Path) -> Finding:
    if importlib.util.find_spec("openai_codex") is None:
        return Finding("note", subject, "Codex is not installed", "make install")
    package = importlib.util.find_spec("codex_cli_bin")
    if agent.cli_path:
        program = Path(agent.cli_path)
        if not os.access(program, os.X_OK):
            return Finding("note", subject, f"the program {program} does not exist", "fix its cli_path")
    elif package is None or package.origin is None:
        return Finding("note", subject, "the Codex program is not installed", "make install")
    else:
        program = Path(package.origin).parent / "bin" / "codex"
    folder = Path(environment.get("CODEX_HOME") or home / ".codex")
    # `codex app-server` does not read a key from the environment, so it is not a sign-in.
    signed_in = _there(folder / "auth.json") or _model_provider(folder / "config.toml")
    if signed_in:
        return Finding("ok", subject, f"installed, signed in by {signed_in}")
    return Finding("note", subject, "installed, not signed in", f"{program} login")


def _codex_sandbox(subject: str, environment: Mapping[str, str], home: Path) -> Iterable[Finding]:
    """With bubblewrap, Codex sandboxes by a helper in its home; it puts no helper below the temporary folder."""
    if sys.platform != "linux" or shutil.which("bwrap", path=environment.get("PATH")) is None:
        return
    folder = Path(environment.get("CODEX_HOME") or home / ".codex").resolve()
    temporary = Path(environment.get("TMPDIR") or "/tmp").resolve()
    if folder.is_relative_to(temporary):
        detail = f"Codex's home {folder} is in the temporary folder {temporary}, so each command in its sandbox fails"
        yield Finding("note", subject, detail, "set CODEX_HOME to a folder elsewhere, or TMPDIR")


def _model_provider(path: Path) -> str:
    """Return the model provider that the user's own Codex config chooses; empty without one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name, providers = table.get("model_provider"), table.get("model_providers")
    provider = providers.get(name) if isinstance(name, str) and isinstance(providers, dict) else None
    if not isinstance(provider, dict) or provider.get("requires_openai_auth") is True:
        return ""
    return f"the model provider {name} in {path}"


def _first_set(environment: Mapping[str, str], names: Iterable[str]) -> str:
    return next((name for name in names if environment.get(name)), "")


def _there(path: Path) -> str:
    return str(path) if path.is_file() else ""


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
    if not path.exists():
        return Finding("ok", "database", "the first start creates it")
    try:
        count = count_sessions(path)
    except StorageError as error:
        return Finding("broken", "database", str(error), "restore a backup")
    return Finding("ok", "database", f"{count} sessions")


def _hub_clock(hubs: Path) -> Finding:
    """Check whether files of hubs lie in the future: then the clock was set back, and times are unreliable."""
    newest = max((path.lstat().st_mtime for path in hubs.glob("*")), default=0.0)
    ahead_s = newest - wall_clock_ms() / 1000
    if ahead_s > CLOCK_SLACK_S:
        return Finding("note", "clock", f"a hub's folder is {ahead_s:.0f} s in the future", "set the clock")
    return Finding("ok", "clock", "agrees with the hubs' folders")


def add_doctor(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("--config", type=as_path, metavar="FILE", help="the server's config file")
    parser.add_argument("--verify", action="store_true", help="check all stored data instead (can be slow)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.verify:
        from builderos.commands.verify import run_verify

        return run_verify(arguments.data)
    return run_doctor(arguments.data, arguments.config)
