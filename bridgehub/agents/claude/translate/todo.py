"""Claude Code's to-do list, as its task tools keep it.

`TaskCreate` and `TaskUpdate` report one task each. The whole list is in files of the program, one for each task. The
older `TodoWrite` brings the whole list with each call.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from bridgehub.protocol.events import HubEvent, PlanChanged, ToolBegan, ToolEnded

__all__ = ["changes_list", "read_list", "written_list"]

MAX_FILES = 500
"""Tasks that are read. A person reads at most a hundred."""

_TASK_TOOLS = frozenset({"TaskCreate", "TaskUpdate"})


def changes_list(event: HubEvent) -> bool:
    """Return whether an event is the end of a call that changed the files of the list."""
    if not isinstance(event, ToolEnded) or event.parent_tool_id is not None:
        return False
    return event.name in _TASK_TOOLS and not event.is_error


def written_list(event: HubEvent) -> PlanChanged | None:
    """Return the list that a call of `TodoWrite` brings. None for anything else."""
    if not isinstance(event, ToolBegan) or event.name != "TodoWrite" or event.parent_tool_id is not None:
        return None
    todos = event.input.get("todos") if isinstance(event.input, dict) else None
    entries = [one for one in todos if isinstance(one, dict)] if isinstance(todos, list) else []
    return PlanChanged(event.turn_id, tuple(map(_entry, entries)))


def read_list(config: Path, conversation: str, turn_id: str) -> PlanChanged:
    """Return the list of a conversation. Reads the disk: use a thread."""
    found: list[tuple[int, dict[str, Any]]] = []
    for path in islice((config / "tasks" / conversation).glob("*.json"), MAX_FILES):
        try:
            task = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        if path.stem.isdigit() and isinstance(task, dict) and task.get("status") != "deleted":
            found.append((int(path.stem), task))
    found.sort(key=lambda pair: pair[0])
    return PlanChanged(turn_id, tuple(_entry(task) for _, task in found))


def _entry(task: dict[str, Any]) -> dict[str, Any]:
    return {"content": str(task.get("subject") or task.get("content") or ""), "status": task.get("status")}
