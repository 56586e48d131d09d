"""What an agent does in a turn: tools, delegated tasks, its plan."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import attrs

__all__ = [
    "PlanEntry",
    "PlanStatus",
    "PlanUpdated",
    "TaskFinished",
    "TaskProgress",
    "TaskStarted",
    "TaskState",
    "ToolFinished",
    "ToolStarted",
]

PlanStatus = Literal["pending", "in_progress", "completed"]


TaskState = Literal["running", "succeeded", "failed", "cancelled"]


@attrs.frozen
class ToolStarted:
    """The agent calls a tool. `input` is JSON; a longer one is its first 64 KiB as text, with `blob`."""

    kind: ClassVar[str] = "tool_started"
    tool_id: str
    name: str
    input: Any
    parent_tool_id: str | None = None
    blob: Any = None


@attrs.frozen
class ToolFinished:
    """A tool call came to its end. `output` is text; of a longer one the first 64 KiB, with `blob`.

    `diff`: what an edit changed, as file entries. `pictures`: what it showed, each a blob with its `mime_type`.
    """

    kind: ClassVar[str] = "tool_finished"
    tool_id: str
    name: str
    output: str
    is_error: bool
    parent_tool_id: str | None = None
    duration_ms: int | None = None
    blob: Any = None
    diff: Any = None
    pictures: Any = None


@attrs.frozen
class TaskStarted:
    """Delegated work began. `background`: it may outlive its turn."""

    kind: ClassVar[str] = "task_started"
    task_id: str
    title: str
    agent_type: str
    parent_task_id: str | None = None
    state: TaskState = "running"
    background: bool = False


@attrs.frozen
class TaskProgress:
    """A word from delegated work."""

    kind: ClassVar[str] = "task_progress"
    task_id: str
    title: str
    agent_type: str
    progress: str
    parent_task_id: str | None = None
    state: TaskState = "running"
    background: bool = False


@attrs.frozen
class TaskFinished:
    """Delegated work ended."""

    kind: ClassVar[str] = "task_finished"
    task_id: str
    title: str
    agent_type: str
    state: TaskState
    result: str | None
    parent_task_id: str | None = None
    background: bool = False


@attrs.frozen
class PlanEntry:
    """One thing that the agent is about to do."""

    content: str
    status: PlanStatus


@attrs.frozen
class PlanUpdated:
    """The agent's to-do list, whole."""

    kind: ClassVar[str] = "plan_updated"
    entries: tuple[PlanEntry, ...]
