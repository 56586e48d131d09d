"""What Claude Code reads once, at its start: instructions, settings, servers, agents, skills.

A warm program does not notice an edit of these files. So they are checked before each turn, and the program is restarted
if one has changed. Two kinds are not checked: files that instructions import (`@file`), and `~/.claude.json`, which the
program itself writes all the time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["Stamp", "config_folder", "read_stamp"]

Stamp = frozenset[tuple[str, int, int]]
"""Path, modification time (ns) and size of each file that exists."""

_INSTRUCTIONS = ("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", ".mcp.json")
_SETTINGS = ("CLAUDE.md", "settings.json", "settings.local.json")
_FOLDERS = ("agents", "commands", "rules", "skills")

_MANAGED = ("/etc/claude-code", "/Library/Application Support/ClaudeCode")
_MANAGED_FILES = ("managed-settings.json", "managed-mcp.json", "CLAUDE.md")

MAX_FILES_OF_A_FOLDER = 500
"""Files of one folder that are checked, so that a turn does not wait. Edits of others take effect at the next start."""


def config_folder(env: dict[str, str]) -> Path:
    """Return the folder with the person's settings and the program's transcripts."""
    return Path(env.get("CLAUDE_CONFIG_DIR") or Path(env.get("HOME") or Path.home()) / ".claude")


def read_stamp(workspace: str, env: dict[str, str]) -> Stamp:
    """Return a value that changes whenever one of these files does. Reads the disk: use a thread."""
    found = set()
    for path in _paths(Path(workspace), config_folder(env)):
        try:
            told = path.stat()
        except OSError:
            continue
        found.add((str(path), told.st_mtime_ns, told.st_size))
    return frozenset(found)


def _paths(workspace: Path, config: Path) -> Iterator[Path]:
    for folder in _MANAGED:
        yield from (Path(folder) / name for name in _MANAGED_FILES)
    for place in (workspace, *workspace.parents):
        yield from (place / name for name in _INSTRUCTIONS)
    for settings in (workspace / ".claude", config):
        yield from (settings / name for name in _SETTINGS)
        for name in _FOLDERS:
            yield from islice(_files_below(settings / name), MAX_FILES_OF_A_FOLDER)


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)
