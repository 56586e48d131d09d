"""The lines around the composer: how the session stands, and what waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from rich.text import Text
from textual.widgets import Static

from builderos.client.machines import machine_words
from builderos.terminal.draw.lines import flat
from builderos.terminal.model.conversation import ConversationModel
from builderos.terminal.model.entries import AnswerEntry, ToolEntry
from builderos.terminal.model.parts import Task
from builderos.terminal.model.tools import describe

__all__ = ["Bar", "Pending", "pending_text", "status_text", "working_text"]

MOST: Final = 8
"""Lines of tasks, to-do list and queue."""

_MARKS: Final = {"completed": "✔", "in_progress": "▶", "pending": "○"}
_STATES: Final = {"running": "▶", "succeeded": "✔", "failed": "✗", "cancelled": "⊘"}
_DOTS: Final = {
    "live": ("●", "green"),
    "reconnecting": ("◌", "yellow"),
    "offline": ("○", "red"),
}


class Bar(Static):
    """One line. Text is never read as markup."""

    DEFAULT_CSS = "Bar { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }"

    def __init__(self, **how: Any) -> None:
        super().__init__("", markup=False, **how)
        self.said = ""

    def say(self, text: Text) -> None:
        """Show a text; does nothing if it is shown already."""
        shown = f"{text.plain}{text.spans}"
        if shown != self.said:
            self.said = shown
            self.update(text)


class Pending(Bar):
    """What waits, on a few lines."""

    DEFAULT_CSS = "Pending { height: auto; max-height: 8; padding: 0 1; }"

    def say(self, text: Text) -> None:
        super().say(text)
        self.display = bool(text.plain)


def connection_words(state: str, behind: int) -> str:
    """Return the state of the connection in the words of the web client."""
    return f"behind by {behind}" if state == "live" and behind else state


def status_text(conversation: ConversationModel, state: str, behind: int, *, observes: bool) -> Text:
    """Return the line of status."""
    dot, colour = _DOTS.get(state, _DOTS["offline"])
    text = Text()
    text.append(f"{dot} {connection_words(state, behind)}", colour)
    steering = conversation.steering
    words = [conversation.agent, machine_words(conversation.machine), *steering.short()]
    words += ["watching"] if observes else []
    others = [conversation.name_of(one) for one in conversation.devices if one != conversation.me]
    if others:
        words.append(f"with {', '.join(others[:3])}")
    if conversation.draft and conversation.draft_by not in ("", conversation.me):
        words.append(f"{conversation.name_of(conversation.draft_by)} is writing")
    text.append("".join(f" · {flat(word)}" for word in words if word), "dim")
    return text


def working_text(conversation: ConversationModel, now: datetime) -> Text:
    """Return what the agent does now; empty if nothing."""
    if conversation.turn_id is None:
        return Text("")
    if conversation.pending:
        return Text("A question waits · tab answers it", "yellow")
    words = ["Working" + _since(conversation.began_at, now)]
    answer = conversation.timeline.answers.get(conversation.turn_id)
    tool = _now(answer) if answer is not None else None
    if tool is not None:
        doing = describe(tool.name, tool.input, conversation.workspace)
        words.append(f"{doing.verb} {doing.gist}")
    done = sum(one.get("status") == "completed" for one in conversation.plan)
    if conversation.plan:
        words.append(f"to-do {done}/{len(conversation.plan)}")
    return Text(" · ".join(flat(word) for word in words) + " · ctrl+c stops", "yellow")


def pending_text(conversation: ConversationModel) -> Text:
    """Return delegated work, to-do list and queue, as lines."""
    lines: list[tuple[str, str]] = []
    running = [one for one in conversation.tasks.values() if one.state == "running"]
    if running:
        lines += _tree(conversation.tasks)
    if conversation.turn_id is not None and conversation.plan:
        lines += [
            (f"{_MARKS.get(str(one.get('status')), '○')} {one.get('content')}", _todo_style(one))
            for one in conversation.plan
        ]
    waiting = conversation.queue
    if waiting:
        lines.append((f"{len(waiting)} queued · alt+up takes the newest back", "dim"))
    text = Text(no_wrap=True, overflow="ellipsis")
    shown = lines if len(lines) <= MOST else [*lines[: MOST - 1], (f"{len(lines) - MOST + 1} more", "dim")]
    for number, (line, style) in enumerate(shown):
        indent = line[: len(line) - len(line.lstrip())]
        text.append(("\n" if number else "") + indent + flat(line), style)
    return text


def _todo_style(entry: Mapping[str, Any]) -> str:
    return {"completed": "dim strike", "in_progress": "bold"}.get(str(entry.get("status")), "")


def _tree(tasks: Mapping[str, Task]) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []

    def walk(parent: str | None, depth: int) -> None:
        for one in tasks.values():
            above = one.parent if one.parent in tasks else None
            if above == parent and depth < 6:
                more = " (background)" if one.background else ""
                news = f": {one.progress[:120]}" if one.progress else ""
                lines.append((f"{'  ' * depth}{_STATES.get(one.state, '·')} {one.title}{more}{news}", ""))
                walk(one.task_id, depth + 1)

    walk(None, 0)
    return lines


def _now(answer: AnswerEntry) -> ToolEntry | None:
    """Return the call that runs now, the innermost one."""
    return next((one for one in reversed(answer.tools.values()) if one.output is None), None)


def _since(began: str, now: datetime) -> str:
    try:
        seconds = int((now - datetime.fromisoformat(began)).total_seconds())
    except (ValueError, TypeError):
        return ""
    return f" {seconds // 60}:{seconds % 60:02}" if seconds >= 1 else ""
