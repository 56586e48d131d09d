"""Delegated work and sub-agents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

__all__ = ["Task", "note_task"]

MAX_TASKS: Final = 200
"""Tasks that are shown; older ones that have ended go first."""


@attrs.frozen
class Task:
    """One of them. `parent` is the id of the task that started it."""

    task_id: str
    parent: str | None = None
    agent: str = ""
    title: str = ""
    state: str = "running"
    progress: str = ""
    background: bool = False


def note_task(tasks: dict[str, Task], body: Mapping[str, Any], progress: str) -> None:
    """Take what an event or `attached` says of a task; what it leaves out stays."""
    task_id = body.get("task_id")
    if not isinstance(task_id, str):
        return
    known = tasks.get(task_id) or Task(task_id)
    parent = body.get("parent_task_id")
    tasks[task_id] = Task(
        task_id,
        parent if isinstance(parent, str) else known.parent,
        str(body.get("agent_type") or known.agent),
        str(body.get("title") or known.title),
        str(body.get("state") or known.state),
        progress or str(body.get("result") or "") or known.progress,
        bool(body.get("background", known.background)),
    )
    if len(tasks) > MAX_TASKS:
        del tasks[next((name for name, one in tasks.items() if one.state != "running"), task_id)]
