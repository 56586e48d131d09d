"""Checks whether an agent of the config could answer now, by looking only at files and variables."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import attrs

from bridgehub.agents.acp.known import known_of
from builderos.client.terminal import one_line
from builderos.config import AcpAgent, Agent, ClaudeAgent, CodexAgent, EchoAgent

__all__ = ["Finding", "examine_agent", "examine_codex_sandbox"]

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
    if not program.is_file():
        return Finding("note", subject, f"the program {program} does not exist", "make install")
    if not os.access(program, os.X_OK):
        return Finding("note", subject, f"the file {program} is not executable", f"chmod +x {program}")
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
        if not program.is_file():
            return Finding("note", subject, f"the program {program} does not exist", "fix its cli_path")
        if not os.access(program, os.X_OK):
            return Finding("note", subject, f"the file {program} is not executable", f"chmod +x {program}")
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


def examine_codex_sandbox(subject: str, environment: Mapping[str, str], home: Path) -> Iterable[Finding]:
    """Return whether Codex can run its sandbox. With bubblewrap it sandboxes by a helper in its home, and it puts no
    helper below the temporary folder.
    """
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
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    import tomllib  # most have no such file

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
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
