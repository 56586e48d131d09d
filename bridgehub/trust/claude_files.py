"""What of a folder Claude Code would run: settings, servers, and what commands, skills and agents bring along.

Seen of Claude Code 2.1.330: settings count from the folder itself only, `.mcp.json` from it and every folder above,
commands, skills and agents from it up to the project's root.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from bridgehub.trust.finding import Findings, Notes, hook_commands, server_command, strings_of
from bridgehub.trust.reading import MAX_FILES_OF_A_FOLDER, MAX_PARENTS, files_below, read_text

__all__ = ["find_claude"]

_HARMLESS = frozenset(
    {
        "$schema",
        "alwaysThinkingEnabled",
        "attribution",
        "disableAllHooks",
        "disableBypassPermissionsMode",
        "disabledMcpjsonServers",
        "effortLevel",
        "includeCoAuthoredBy",
        "language",
        "model",
        "outputStyle",
        "respectGitignore",
        "spinnerTipsEnabled",
        "theme",
    }
)
"""Settings that run nothing and give no right. Any other one counts, those that are not known too."""

_RESTRICTING = frozenset({"deny", "ask", "disableBypassPermissionsMode"})
_CAREFUL_MODES = frozenset({"default", "plan", "manual", "dontAsk"})
_HELPERS = re.compile(r".*(Helper|Refresh|Export|Line|Suggestion)")

_TEXTS = {"commands": "command", "skills": "skill", "agents": "agent"}
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)
_POWERS = re.compile(
    r"^(hooks|mcp-?servers|permission-?mode|allowed-?tools)\s*:", re.MULTILINE | re.IGNORECASE
)
_INLINE = re.compile(r"!`[^`]*`|^```!.*?^```", re.MULTILINE | re.DOTALL)


def find_claude(workspace: str, config: Path, counts_as: str = "") -> Findings:
    """Look at the folder. `config`: where the person's own settings lie; they belong to no folder."""
    notes = Notes(Path(workspace), counts_as)
    own = os.path.realpath(config)
    if os.path.realpath(notes.workspace / ".claude") != own:
        for name in ("settings.json", "settings.local.json"):
            _note_settings(notes, notes.workspace / ".claude" / name)
        _note_scheduled(notes, notes.workspace / ".claude" / "scheduled_tasks.json")
    for folder in (notes.workspace, *notes.workspace.parents)[:MAX_PARENTS]:
        _note_servers(notes, folder / ".mcp.json")
    for folder in notes.folders:
        dot = folder / ".claude"
        if os.path.realpath(dot) == own:
            continue
        for name, kind in _TEXTS.items():
            _note_texts(notes, dot / name, kind)
        for path in islice(files_below(dot / "workflows"), MAX_FILES_OF_A_FOLDER):
            notes.note(path, "workflow", path.stem)
    return notes.findings("claude")


def _note_settings(notes: Notes, path: Path) -> None:
    table = _table(notes, path)
    for key, value in table.items():
        if key in _HARMLESS or value in (None, {}, []):
            continue
        if key == "hooks" and isinstance(value, dict):
            _note_hooks(notes, path, value)
        elif key == "env" and isinstance(value, dict):
            for name in value:
                notes.note(path, "environment", name)
        elif key == "permissions" and isinstance(value, dict):
            _note_permissions(notes, path, value)
        elif key in ("enabledPlugins", "extraKnownMarketplaces"):
            for name in value if isinstance(value, dict | list) else (key,):
                notes.note(path, "plugin", name)
        elif _HELPERS.fullmatch(key):
            command = value.get("command", "") if isinstance(value, dict) else value
            notes.note(path, "helper", key, command)
        else:
            notes.note(path, "setting", key)
    if notes.runs_in(path):
        notes.note_commands(strings_of(table), notes.workspace)


def _note_hooks(notes: Notes, path: Path, hooks: dict[str, Any]) -> None:
    for event, groups in hooks.items():
        for command in hook_commands(groups):
            notes.note(path, "hook", event, command)


def _note_permissions(notes: Notes, path: Path, permissions: dict[str, Any]) -> None:
    for key, value in permissions.items():
        if (
            key in _RESTRICTING
            or value in (None, [], {})
            or (key == "defaultMode" and value in _CAREFUL_MODES)
        ):
            continue
        if key == "allow" and isinstance(value, list):
            for rule in value:
                notes.note(path, "permission", rule)
        else:
            words = ", ".join(strings_of(value)) or str(value)
            notes.note(path, "permission", f"{key}: {words}")


def _note_servers(notes: Notes, path: Path) -> None:
    table = _table(notes, path)
    servers = table.get("mcpServers", table)
    for name, server in servers.items() if isinstance(servers, dict) else ():
        notes.note(path, "server", name, server_command(server))
    if notes.runs_in(path):
        notes.note_commands(strings_of(table), notes.workspace)


def _note_scheduled(notes: Notes, path: Path) -> None:
    if _table(notes, path):
        notes.note(path, "schedule", path.stem)


def _note_texts(notes: Notes, folder: Path, kind: str) -> None:
    """Note the commands, skills or agents that run something or give a right; plain text is only text."""
    for number, path in enumerate(files_below(folder, ".md")):
        if number == MAX_FILES_OF_A_FOLDER:
            notes.note(folder, kind, f"more than {MAX_FILES_OF_A_FOLDER} files")
            return
        if kind == "skill" and path.name != "SKILL.md":
            continue
        text = read_text(path)
        name = path.parent.name if kind == "skill" else path.stem
        if text is None:
            notes.note(path, kind, f"{name} (cannot be read)")
            continue
        front = _FRONT.match(text)
        powers = _POWERS.findall(front[1]) if front else []
        inline = _INLINE.findall(text)
        if powers or inline:
            notes.note(path, kind, name, ", ".join(dict.fromkeys([*powers, *inline])))
            notes.note_commands([*(front.groups() if front else ()), *inline], notes.workspace)


def _table(notes: Notes, path: Path) -> dict[str, Any]:
    """Return a JSON file's object, empty if there is no file. One that cannot be read counts as something."""
    if not os.path.lexists(path):
        return {}
    text = read_text(path)
    try:
        table = None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        table = None
    if isinstance(table, dict):
        return table
    if text is None or text.strip():
        notes.note(path, "setting", "a file that cannot be read")
    return {}
