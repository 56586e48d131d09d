"""What a tool call is, in words: what it does, and to what. Pure. The web client uses the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

__all__ = ["Doing", "describe", "input_text"]

SHORT: Final = 160

_KINDS: Final = {
    "command": "bash shell exec exec_command local_shell commandexecution command_execution command powershell",
    "edit": "edit multiedit write notebookedit apply_patch filechange file_change patch",
    "read": "read",
    "search": "grep glob ls",
    "fetch": "webfetch websearch web_search",
    "plan": "exitplanmode",
    "todo": "todowrite update_plan",
    "task": "task agent delegate",
    "question": "askuserquestion",
}
_KIND_OF: Final = {name: kind for kind, names in _KINDS.items() for name in names.split()}

_VERBS: Final = {
    "command": ("Run", "run a command"),
    "edit": ("Edit", "edit files"),
    "read": ("Read", "read a file"),
    "search": ("Search", "search files"),
    "fetch": ("Fetch", "read from the web"),
    "plan": ("Plan", "carry out a plan"),
    "todo": ("To-do", "change its to-do list"),
    "task": ("Delegate", "start another agent"),
    "question": ("Ask", "ask something"),
}

_NAMES: Final = (
    "description",
    "title",
    "url",
    "query",
    "command",
    "file_path",
    "path",
    "pattern",
    "prompt",
    "text",
)


@attrs.frozen
class Doing:
    """A tool call in words. `wish` follows "wants to"."""

    kind: str
    verb: str
    gist: str
    wish: str


def describe(name: str, given: Any, workspace: str = "") -> Doing:
    """Return what a call of this tool with this input does."""
    kind = _KIND_OF.get(name.lower(), "mcp" if name.startswith("mcp__") else "")
    if not kind and isinstance(given, dict) and isinstance(given.get("command"), str | list):
        kind = "command"
    called = _called(name)
    verb, wish = _VERBS.get(kind, (called, f"use {called}"))
    first_line = _gist(kind, given, workspace).strip().split("\n")[0]
    return Doing(kind or "other", verb, first_line[:SHORT], wish)


def input_text(value: Any) -> str:
    """Return any input as text, a field a line."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, dict):
        return "\n".join(
            f"{name}: {one if isinstance(one, str) else _json(one)}" for name, one in value.items()
        )
    return _json(value)


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _called(name: str) -> str:
    parts = name.split("__", 2)
    return f"{parts[1]}: {parts[2]}" if len(parts) == 3 and parts[0] == "mcp" else name


def _gist(kind: str, given: Any, workspace: str) -> str:
    if isinstance(given, str):
        return given
    if not isinstance(given, dict):
        return ""
    match kind:
        case "command":
            command = given.get("command", given.get("cmd"))
            return " ".join(map(str, command)) if isinstance(command, list) else str(command or "")
        case "edit" | "read":
            return _paths(given, workspace)
        case "search":
            pattern = str(given.get("pattern") or given.get("query") or "")
            at = _relative(given.get("path"), workspace)
            return " in ".join(one for one in (pattern, at) if one)
        case "todo":
            return _done(given)
        case "plan":
            lines = str(given.get("plan") or "").strip().split("\n")
            return lines[0].lstrip("# ")
        case "question":
            asked = given.get("questions")
            first = asked[0] if isinstance(asked, list) and asked else {}
            return str(first.get("question") or "") if isinstance(first, dict) else ""
    return next((given[name] for name in _NAMES if isinstance(given.get(name), str) and given[name]), "")


def _done(given: Mapping[str, Any]) -> str:
    found = given.get("todos", given.get("plan"))
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    done = sum(one.get("status") == "completed" for one in entries)
    return f"{done} of {len(entries)} done" if entries else ""


def _paths(given: Mapping[str, Any], workspace: str) -> str:
    changes = given.get("changes")
    others = (
        [one.get("path") for one in changes if isinstance(one, dict)] if isinstance(changes, list) else []
    )
    named = [given.get("file_path") or given.get("notebook_path") or given.get("path"), *others]
    found = [_relative(one, workspace) for one in named if one]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return found[0] + more if found else ""


def _relative(path: Any, workspace: str) -> str:
    text = path if isinstance(path, str) else ""
    folder = workspace.rstrip("/") + "/"
    return text.removeprefix(folder) if workspace else text
