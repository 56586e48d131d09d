"""The parts of entries, and the tasks of a session: how each is made of what the server sent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson

from builderos.client.wire.frames import Frame
from builderos.terminal.model.entries import AnswerEntry, MessageEntry, TextPart, ToolEntry

__all__ = [
    "Task",
    "end",
    "finish_tool",
    "note_task",
    "past_answer",
    "past_message",
    "piece",
    "printed",
    "same",
    "start_tool",
    "whole",
]

MAX_TASKS: Final = 200
"""Tasks that are shown; older ones that have ended go first."""


@attrs.frozen
class Task:
    """Work of a sub-agent or a delegate. `parent` is the id of the task that started it."""

    task_id: str
    parent: str | None = None
    agent: str = ""
    title: str = ""
    state: str = "running"
    progress: str = ""
    background: bool = False


def piece(answer: AnswerEntry, frame: Frame) -> None:
    """Take a piece of text or thinking."""
    block = frame.text("block")
    kind: Any = "thinking" if frame.kind == "thinking" else "text"
    last = answer.parts[-1] if answer.parts else None
    if not (isinstance(last, TextPart) and last.block == block and last.kind == kind):
        found = [
            one
            for one in answer.parts
            if isinstance(one, TextPart) and one.block == block and one.kind == kind
        ]
        last = found[0] if found else TextPart(kind, block)
        if not found:
            answer.parts.append(last)
    last.take(frame.number("offset"), frame.content)


def start_tool(answer: AnswerEntry, frame: Frame, printed: Mapping[str, str]) -> None:
    """Take `tool_started`. `printed`: what running tools have printed, by tool."""
    tool_id = frame.text("tool_id")
    if tool_id in answer.tools:
        return
    tool = ToolEntry(
        tool_id, frame.text("name"), frame.body.get("input"), frame.text("parent_tool_id") or None
    )
    tool.printed = printed.get(tool_id, "")
    answer.tools[tool_id] = tool
    within = answer.tools.get(tool.parent or "")
    if within is not None:
        within.inner.append(tool)
    else:
        answer.parts.append(tool)


def printed(frame: Frame) -> dict[str, str]:
    """Return what running tools have printed, by tool, of a `tool_output`."""
    told = [one for one in frame.tables("outputs") if isinstance(one.get("tool_id"), str)]
    return {one["tool_id"]: ("…" if one.get("offset") else "") + str(one.get("output") or "") for one in told}


def finish_tool(answer: AnswerEntry, frame: Frame) -> None:
    """Take `tool_finished`."""
    tool = answer.tools.get(frame.text("tool_id"))
    if tool is not None:
        tool.output, tool.is_error = frame.text("output"), frame.body.get("is_error") is True
        duration = frame.body.get("duration_ms")
        tool.duration_ms = int(duration) if isinstance(duration, int | float) else None
        tool.diff = frame.tables("diff")


def end(answer: AnswerEntry, frame: Frame) -> None:
    """Take the end of a turn."""
    answer.status, answer.code, answer.content = frame.kind, frame.text("code"), frame.content
    answer.by, answer.ended_at = frame.text("by_device"), frame.text("timestamp")
    answer.resets_at = frame.text("resets_at")
    ways = frame.body.get("ways")
    answer.ways = tuple(one for one in ways if isinstance(one, str)) if isinstance(ways, list) else ()


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


def past_message(one: Mapping[str, Any]) -> MessageEntry:
    """Make a message of what an event, `attached` or `/messages` says."""
    message_id = str(one.get("message_id") or one.get("seq"))
    files = one.get("attachments")
    return MessageEntry(
        f"m:{message_id}",
        message_id,
        str(one.get("content") or ""),
        one["device_id"] if isinstance(one.get("device_id"), str) else None,
        whole(one, "seq"),
        turn_id=one["turn_id"] if isinstance(one.get("turn_id"), str) else None,
        at=str(one.get("timestamp") or ""),
        files=tuple(str(file.get("filename") or "file") for file in files or () if isinstance(file, dict)),
        state=str(one.get("status") or "sent"),
        not_before=str(one.get("not_before") or ""),
    )


def past_answer(one: Mapping[str, Any]) -> AnswerEntry:
    """Make an answer of an entry of `/messages`."""
    turn_id = str(one.get("turn_id") or one.get("seq"))
    made = AnswerEntry(
        f"t:{turn_id}",
        turn_id,
        whole(one, "seq"),
        str(one.get("timestamp") or ""),
        str(one.get("cause") or ""),
    )
    made.status, made.undone = str(one.get("status") or "complete"), one.get("left") is True
    error = one.get("error")
    if isinstance(error, dict):
        made.code, made.content = str(error.get("code") or ""), str(error.get("content") or "")
    if one.get("content"):
        made.parts.append(TextPart("text", "", str(one["content"])))
    return made


def whole(one: Mapping[str, Any], name: str) -> int:
    """Return a number field; 0 if it is absent or of another type."""
    value = one.get(name)
    return value if type(value) is int else 0


def same(one: Any, other: Any) -> bool:
    """Return whether two inputs are equal."""
    return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
