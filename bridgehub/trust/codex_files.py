"""What of a folder Codex would run or follow: `.codex/` of the folder and of those above it up to the project's root.

Codex itself leaves out some keys of a project's file (its provider, its `notify`); they count here all the same.
"""

from __future__ import annotations

import os
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from bridgehub.trust.finding import Findings, Notes, hook_commands, server_command, strings_of
from bridgehub.trust.reading import MAX_FILES_OF_A_FOLDER, files_below, read_text

__all__ = ["find_codex"]

_HARMLESS = frozenset(
    {
        "hide_agent_reasoning",
        "model",
        "model_reasoning_effort",
        "model_reasoning_summary",
        "model_verbosity",
        "personality",
        "project_doc_fallback_filenames",
        "project_doc_max_bytes",
        "show_raw_agent_reasoning",
    }
)
"""Settings that run nothing and give no right. Any other one counts, those that are not known too."""

_RIGHTS = frozenset(
    {"approval_policy", "sandbox_mode", "sandbox_workspace_write", "permissions", "default_permissions"}
)


def find_codex(workspace: str, home: Path, counts_as: str = "") -> Findings:
    """Look at the folder. `home`: where the person's own settings lie; they belong to no folder."""
    notes = Notes(Path(workspace), counts_as)
    own = os.path.realpath(home)
    for folder in notes.folders:
        dot = folder / ".codex"
        if os.path.realpath(dot) == own:
            continue
        _note_config(notes, dot / "config.toml", folder)
        _note_hook_file(notes, dot / "hooks.json", folder)
        for name, kind in (("rules", "permission"), ("agents", "agent")):
            for path in islice(files_below(dot / name), MAX_FILES_OF_A_FOLDER + 1):
                notes.note(path, kind, path.name)
    return notes.findings("codex")


def _note_config(notes: Notes, path: Path, folder: Path) -> None:
    if not os.path.lexists(path):
        return
    text = read_text(path)
    try:
        table = None if text is None else tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        table = None
    if table is None:
        notes.note(path, "setting", "a file that cannot be read")
        return
    for key, value in table.items():
        _note_key(notes, path, key, value)
    if notes.runs_in(path):
        notes.note_commands(strings_of(table), folder)


def _note_key(notes: Notes, path: Path, key: str, value: Any) -> None:
    if key in _HARMLESS or value in ({}, []):
        return
    if key == "mcp_servers" and isinstance(value, dict):
        for name, server in value.items():
            notes.note(path, "server", name, server_command(server))
    elif key == "hooks" and isinstance(value, dict):
        _note_hooks(notes, path, value)
    elif key == "shell_environment_policy" and isinstance(value, dict):
        variables = value.get("set")
        for name in variables if isinstance(variables, dict) else ():
            notes.note(path, "environment", name)
        for name in value.keys() - {"set"}:
            notes.note(path, "setting", f"{key}.{name}")
    elif key in _RIGHTS:
        words = ", ".join(strings_of(value)) or "set"
        notes.note(path, "permission", f"{key}: {words}")
    elif key == "notify":
        notes.note(path, "helper", key, value)
    else:
        notes.note(path, "setting", key)


def _note_hook_file(notes: Notes, path: Path, folder: Path) -> None:
    if not os.path.lexists(path):
        return
    text = read_text(path)
    try:
        table = None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        table = None
    if not isinstance(table, dict):
        notes.note(path, "setting", "a file that cannot be read")
        return
    hooks = table.get("hooks", table)
    _note_hooks(notes, path, hooks if isinstance(hooks, dict) else {})
    if notes.runs_in(path):
        notes.note_commands(strings_of(table), folder)


def _note_hooks(notes: Notes, path: Path, hooks: dict[str, Any]) -> None:
    for event, groups in hooks.items():
        for command in hook_commands(groups):
            notes.note(path, "hook", event, command)
