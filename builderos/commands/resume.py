"""The command `resume`: continue a session in this terminal, with the agent's own program.

Codex joins the hub's program, so that both sides continue. Claude Code continues alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from builderos.client.wire.http import call
from builderos.client.wire.server import Server, with_server
from builderos.exit_status import MISUSED, fail
from builderos.options import SESSION_ID

__all__ = ["add_resume", "program_of", "run_resume"]

GIVEN_S: Final = 100.0
"""How long the server may take: the agent's program here starts first, to be joined, or ends first."""

TELL_S: Final = 3.0
"""After so long it is said what is waited for."""

_WAITS: Final = "waiting for the session's agent to start, or to end"

_PROGRAMS: Final = {
    "claude": ("claude", "claude_agent_sdk", "_bundled/claude"),
    "codex": ("codex", "codex_cli_bin", "bin/codex"),
}
"""By kind: the program's name, and where a package of ours has it."""

_NOT_FOR_IT: Final = ("CLAUDECODE", "CLAUDE_CODE_CHILD_SESSION", "CLAUDE_CODE_ENTRYPOINT")
_PLACES: Final = frozenset({"CLAUDE_CONFIG_DIR", "CODEX_HOME"})


def run_resume(data: Path, url: str | None, key: str | None, session: str) -> int:
    """Stop the session's hub, unless it is shared, then become the agent's program.

    Returns an exit status only if that fails.
    """
    if not SESSION_ID.fullmatch(session):
        return fail("SESSION: not 1 to 128 of A-Z a-z 0-9 . _ -", MISUSED)
    return with_server((data, url, key), lambda find: _continue(find(), session))


def _continue(server: Server, session: str) -> int:
    path = f"/api/sessions/{quote(session)}/give-back?join=1&here=1"
    waiting = threading.Timer(TELL_S, fail, [_WAITS])
    waiting.daemon = True
    waiting.start()
    try:
        told = call(server, "POST", path, limit_s=GIVEN_S)
    finally:
        waiting.cancel()
    kind, native_id, workspace = (str(told.get(name) or "") for name in ("kind", "native_id", "workspace"))
    program = program_of(kind, told.get("program"))
    if program is None:
        return fail(f"the program of agents of the kind {kind} is not on this machine")
    socket = str(told.get("socket") or "")
    words = [program, "--resume", native_id]
    if kind == "codex":
        remote = ["--remote", f"unix://{socket}"] if socket else []
        words = [program, *remote, "resume", native_id]
    try:
        os.chdir(workspace)
        sys.stdout.flush()
        os.execve(program, words, _environment(os.environ, told))
    except OSError as error:
        return fail(f"{error.filename or program}: {error.strerror}")


def program_of(kind: str, configured: object) -> str | None:
    """Return the path of an agent's program: that of the config, the person's own, or the package's."""
    if isinstance(configured, str) and configured:
        return configured if os.access(configured, os.X_OK) else None
    if kind not in _PROGRAMS:
        return None
    name, package, inside = _PROGRAMS[kind]
    own = shutil.which(name)
    if own is not None:
        return own
    found = importlib.util.find_spec(package)
    path = None if found is None or found.origin is None else Path(found.origin).parent / inside
    return str(path) if path is not None and path.is_file() else None


def _environment(environment: Mapping[str, str], told: Mapping[str, Any]) -> dict[str, str]:
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _NOT_FOR_IT and not name.startswith("BUILDEROS_")
    }
    places = told.get("env")
    given = places if isinstance(places, dict) else {}
    return kept | {name: str(value) for name, value in given.items() if name in _PLACES}


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Add the options of `resume`."""
    parser.add_argument("session", metavar="SESSION", help="session ID")
    parser.set_defaults(run=_resume)


def _resume(arguments: argparse.Namespace) -> int:
    return run_resume(arguments.data, arguments.url, arguments.key, arguments.session)
