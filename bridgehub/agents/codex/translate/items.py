"""Codex's items as tool calls: a name, an input and an output that a client can draw. No I/O.

| item | name | input |
|---|---|---|
| commandExecution | `shell` | `command`, `cwd` |
| fileChange | `apply_patch` | `changes`: `path`, `kind` (`add` `delete` `update`), `diff`, `move_path` |
| mcpToolCall | `mcp__SERVER__TOOL` | the tool's own |
| webSearch | `web_search` | `query`, `action` |
| collabAgentToolCall, subAgentActivity | `agent_spawnAgent`, `agent_wait`, … | `prompt` or `agent` |

The diff of an added or deleted file is its bare content; of a changed one, its hunks.
"""

from __future__ import annotations

from typing import Any

import attrs

from bridgehub.agents.diffs import entry_of_patch, entry_of_texts
from bridgehub.agents.json_rpc.messages import Fields
from bridgehub.agents.text import tool_output_text

__all__ = ["CodexToolCall", "changes_of", "diff_of", "plan_entries", "shown_parts", "tool_of", "tool_outcome"]

_LATE = frozenset({"webSearch", "imageView", "imageGeneration"})
"""Items whose input is known only when they are completed."""


_ACTIVITIES = {
    "started": "agent_spawnAgent",
    "interacted": "agent_sendInput",
    "interrupted": "agent_interruptAgent",
}
"""What an agent did with one that it started, in the names of the older `collabAgentToolCall`."""


@attrs.frozen
class CodexToolCall:
    """A tool call.

    Attributes:
        is_late: it is reported when it is over, because only then is its input known.
        process_id: Codex's own id of a command's process. Empty if it has none.
    """

    item_id: str
    name: str
    input: Any
    is_late: bool = False
    process_id: str = ""


def tool_of(item: Fields) -> CodexToolCall | None:
    """Return the tool call that an item represents. None if it is not one."""
    kind = item.text("type")
    named = _named(kind, item)
    if named is None:
        return None
    name, tool_input = named
    return CodexToolCall(item.text("id"), name, tool_input, kind in _LATE, item.text("processId"))


def _named(kind: str, item: Fields) -> tuple[str, Any] | None:
    match kind:
        case "commandExecution":
            return "shell", {"command": item.text("command"), "cwd": item.text("cwd")}
        case "fileChange":
            return "apply_patch", {"changes": changes_of(item)}
        case "mcpToolCall":
            return f"mcp__{item.text('server')}__{item.text('tool')}", item.value("arguments")
        case "dynamicToolCall":
            return item.text("tool"), item.value("arguments")
        case "collabAgentToolCall":
            return f"agent_{item.text('tool')}", _told(prompt=item.maybe_text("prompt"))
        case "subAgentActivity" if item.text("kind") in _ACTIVITIES:
            return _ACTIVITIES[item.text("kind")], _told(agent=item.maybe_text("agentPath"))
        case "webSearch":
            return "web_search", {"query": item.text("query"), "action": item.value("action")}
        case "imageView":
            return "view_image", {"path": item.text("path")}
        case "imageGeneration":
            return "image_generation", {"prompt": item.maybe_text("revisedPrompt")}
    return None


def plan_entries(params: Fields) -> tuple[dict[str, Any], ...]:
    """Return the to-do list of a `turn/plan/updated`."""
    words = {"inProgress": "in_progress", "completed": "completed"}
    return tuple(
        {"content": one.text("step"), "status": words.get(one.text("status"), "pending")}
        for one in params.objects("plan")
    )


def changes_of(item: Fields) -> list[dict[str, Any]]:
    """Return the changes of files that an item makes."""
    return [
        {
            "path": change.text("path"),
            "kind": change.inner("kind").text("type"),
            "diff": change.text("diff"),
            "move_path": change.inner("kind").maybe_text("move_path"),
        }
        for change in item.objects("changes")
    ]


def diff_of(changes: object) -> list[dict[str, Any]] | None:
    """Return the changes of `changes_of` as file entries. None if there are none."""
    found = [change for change in changes if isinstance(change, dict)] if isinstance(changes, list) else []
    return [_entry_of(change) for change in found] or None


def _entry_of(change: dict[str, Any]) -> dict[str, Any]:
    path, diff, moved = str(change["path"]), str(change["diff"]), change["move_path"]
    match change["kind"]:
        case "add":
            return entry_of_texts(path, None, diff)
        case "delete":
            return entry_of_texts(path, diff, None)
    return entry_of_patch(path, diff) if not moved else entry_of_patch(str(moved), diff, path)


def tool_outcome(item: Fields) -> tuple[str, bool]:
    """Return the output of a completed tool call, and whether it failed."""
    status = item.text("status")
    failed = status in {"failed", "declined"}
    match item.text("type"):
        case "commandExecution":
            return _command_output(item, status), failed
        case "mcpToolCall":
            return _mcp_output(item), failed or item.inner("result").flag("isError")
        case "dynamicToolCall":
            return tool_output_text(item.value("contentItems")), item.value("success") is False
        case "collabAgentToolCall" if item.text("tool") == "wait":
            return _agents_output(item) or status, failed
        case "collabAgentToolCall" | "fileChange":
            return status, failed
    return status or "done", failed


def shown_parts(item: Fields) -> object:
    """Return the parts of a completed tool call's output, some of which may be pictures. None if it has no parts."""
    match item.text("type"):
        case "mcpToolCall":
            return item.inner("result").value("content")
        case "dynamicToolCall":
            return item.value("contentItems")
    return None


def _command_output(item: Fields, status: str) -> str:
    if status == "declined":
        return status
    output, exit_code = item.text("aggregatedOutput"), item.count("exitCode")
    if not exit_code:
        return output
    gap = "" if not output or output.endswith("\n") else "\n"
    return f"{output}{gap}[exit status {exit_code}]"


def _agents_output(item: Fields) -> str:
    """Return the state of the awaited agents, one a line, with the messages of those that ended."""
    states = (Fields(state) for state in item.inner("agentsStates").raw.values() if isinstance(state, dict))
    return "\n".join(
        ": ".join(part for part in (state.text("status"), state.text("message")) if part) for state in states
    )


def _told(**fields: str | None) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}


def _mcp_output(item: Fields) -> str:
    error = item.inner("error").maybe_text("message")
    return error if error is not None else tool_output_text(item.inner("result").value("content"))
