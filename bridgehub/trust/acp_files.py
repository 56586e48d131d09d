"""What of a folder an agent of the Agent Client Protocol would run: its own settings, and the folder's MCP servers.

Each known agent has files of its own (`KnownAgent.reads`); of one that is not known all of them count. It is
unknown what in such a file runs, so each file counts whole. `.mcp.json` is read by us: its servers are handed to the agent.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from bridgehub.agents.acp.known import KNOWN, known_of
from bridgehub.agents.claude.settings import config_folder
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.trust.claude_files import find_claude
from bridgehub.trust.finding import Findings, Notes
from bridgehub.trust.reading import MAX_FILES_OF_A_FOLDER, files_below

__all__ = ["CLAUDE", "find_acp"]

CLAUDE = "claude-acp"
"""The agent that is Claude Code under another protocol, and reads what that reads."""


def find_acp(spec: HubSpec) -> Findings:
    """Look at the folder. Blocking."""
    known = known_of(spec.options.get("command", ()))
    claude = find_claude(spec.workspace, config_folder(spec.env), spec.counts_as)
    if known is not None and known.name == CLAUDE:
        return claude
    notes = Notes(Path(spec.workspace), spec.counts_as)
    home = os.path.realpath(spec.env.get("HOME") or Path.home())
    reads = known.reads if known is not None else tuple(name for one in KNOWN.values() for name in one.reads)
    for folder in notes.folders:
        if os.path.realpath(folder) != home:  # there they are the person's own
            for name in dict.fromkeys(reads):
                _note(notes, folder / name, name)
    own = notes.findings("acp")
    runs = claude.runs if known is None else tuple(run for run in claude.runs if run.kind == "server")
    digest = claude.digest if runs else ""
    environment = claude.environment if known is None else frozenset[str]()
    return Findings(own.folder, own.runs + runs, own.digest + digest, own.environment | environment)


def _note(notes: Notes, path: Path, name: str) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        notes.note(path, "setting", name)
        return
    for found in islice(files_below(path), MAX_FILES_OF_A_FOLDER + 1):
        notes.note(found, "setting", os.path.relpath(found, path.parent))
