"""What a person reads of a request: its subject, in one line of plain words. No I/O."""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = ["MAX_TITLE_CHARS", "Kind", "RequestWords", "plain_words"]

Kind = Literal["command", "edit", "read", "fetch", "mcp", "plan", "question", "trust", "other"]

MAX_TITLE_CHARS = 200
"""Code points of a title. A longer one ends with an ellipsis."""

MAX_NAMED = 3
"""Paths that the title of an edit names. If there are more, it gives their number."""

_KINDS: dict[str, Kind] = {
    "Bash": "command",
    "shell": "command",
    "Edit": "edit",
    "MultiEdit": "edit",
    "NotebookEdit": "edit",
    "Write": "edit",
    "apply_patch": "edit",
    "Read": "read",
    "Glob": "read",
    "Grep": "read",
    "LS": "read",
    "view_image": "read",
    "WebFetch": "fetch",
    "WebSearch": "fetch",
    "web_search": "fetch",
    "network": "fetch",
    "ExitPlanMode": "plan",
    "AskUserQuestion": "question",
    "request_user_input": "question",
}
"""The tools of the supported agents. A name means the same for all of them."""


@attrs.frozen
class RequestWords:
    """What a request has besides its tool and input (PROTOCOL section 8, Requests).

    Attributes:
        modes: the modes in which the agent would not have asked.
        diff: what an edit changes, as file entries.
        editable: fields of the input that a person may change.
        options: what a person may answer. None: allow, deny and allow for the session. Any other option is the agent's
            own: a person sees its label, and it returns as `Decided.option`.
        denying: the agent's own options that deny.
    """

    kind: Kind
    title: str
    modes: tuple[str, ...] = ()
    diff: Any = None
    editable: tuple[str, ...] = ()
    options: tuple[str, ...] | None = None
    denying: tuple[str, ...] = ()


def plain_words(tool: str, tool_input: object, questions: object = None) -> RequestWords:
    """Return the words for a call of a tool, from the tool's name and input alone."""
    fields = tool_input if isinstance(tool_input, dict) else {}
    if questions:
        return RequestWords("question", _line(_first_question(questions)))
    kind: Kind = _KINDS.get(tool, "mcp" if tool.startswith("mcp__") else "other")
    return RequestWords(kind, _line(_title(tool, kind, fields)))


def _title(tool: str, kind: Kind, fields: dict[str, Any]) -> str:
    match kind:
        case "command":
            return f"Run {fields.get('command') or 'a command'}"
        case "edit":
            return f"{'Write' if tool == 'Write' else 'Edit'} {_paths(fields)}"
        case "read":
            return f"Read {_first(fields, 'file_path', 'path', 'pattern') or 'files'}"
        case "fetch":
            query = _first(fields, "query")
            return (
                f"Search the web for {query}"
                if query
                else f"Open {_first(fields, 'url', 'host') or 'a page'}"
            )
        case "mcp":
            server, _, name = tool.removeprefix("mcp__").partition("__")
            return f"Use {name} of {server}" if name else f"Answer {server}"
        case "plan":
            return "Carry out the plan"
        case "question":
            return "Answer a question"
    reason = _first(fields, "reason", "text", "description")
    return f"Use {tool}: {reason}" if reason else f"Use {tool}"


def _paths(fields: dict[str, Any]) -> str:
    changes = fields.get("changes")
    if isinstance(changes, list):
        paths = [str(one["path"]) for one in changes if isinstance(one, dict) and "path" in one]
        if len(paths) > MAX_NAMED:
            return f"{len(paths)} files"
        if paths:
            return ", ".join(paths)
    return _first(fields, "file_path", "notebook_path") or "files"


def _first(fields: dict[str, Any], *names: str) -> str:
    found = (fields.get(name) for name in names)
    return next((one for one in found if isinstance(one, str) and one.strip()), "")


def _first_question(questions: object) -> str:
    if not isinstance(questions, list) or not questions or not isinstance(questions[0], dict):
        return "Answer a question"
    more = f" (and {len(questions) - 1} more)" if len(questions) > 1 else ""
    return f"{questions[0].get('question') or 'Answer a question'}{more}"


def _line(text: str) -> str:
    line = " ".join(text[: 8 * MAX_TITLE_CHARS].split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1] + "…"
