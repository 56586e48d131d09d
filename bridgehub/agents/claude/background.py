"""Commands and whatever else Claude Code leaves running in the background: what its messages say of them. No I/O.

The program calls each such command a task and tells when it begins, moves to the background, and ends. A sub-agent is
no matter of this module: the program is not idle while one works, so it is a task of the turn (`events`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import attrs
from claude_agent_sdk import (
    SystemMessage,
    TaskNotificationMessage,
    TaskStartedMessage,
    TaskUpdatedMessage,
)

from bridgehub.agents.claude.events import DELEGATED, TASK_ENDS
from bridgehub.agents.text import clean_text, cut_text
from bridgehub.protocol.messages import HubEvent, TaskBegan, TaskEnded

__all__ = ["Background"]

_AGENT_TYPE = "command"
"""What devices are told to be at work."""

MAX_KNOWN = 1000
"""Commands in the foreground whose words are kept, since they may be moved to the background; the newest."""


@attrs.define(eq=False)
class Background:
    """What runs in the background of one program. It lives as long as the program."""

    running: dict[str, Literal["succeeded", "failed", "cancelled"]] = attrs.field(factory=dict)
    """How each will have ended, as far as that was told already."""
    _titles: dict[str, str] = attrs.field(factory=dict)

    def translate(self, message: object, turn_id: str | None) -> Iterator[HubEvent]:
        """Give the events of one message; `turn_id` is the running turn's."""
        match message:
            case TaskStartedMessage(task_id=task_id) if message.task_type not in DELEGATED:
                self._titles[task_id] = clean_text(message.description)
                while len(self._titles) > MAX_KNOWN:
                    del self._titles[next(iter(self._titles))]
                if message.data.get("is_backgrounded") is True:
                    yield from self._began(task_id, turn_id)
            case TaskUpdatedMessage(task_id=task_id) if message.patch.get("is_backgrounded") is True:
                yield from self._began(task_id, turn_id)
            case TaskUpdatedMessage(task_id=task_id, status=status):
                if task_id in self.running and status in TASK_ENDS:
                    self.running[task_id] = TASK_ENDS[status]
            case TaskNotificationMessage(task_id=task_id, status=status, summary=summary):
                if self.running.pop(task_id, None) is not None:
                    state = TASK_ENDS.get(status, "failed")
                    yield TaskEnded(turn_id, task_id, state, cut_text(summary).value)
            case SystemMessage(subtype="background_tasks_changed", data=data):
                tasks = data.get("tasks")
                listed = {one.get("task_id") for one in tasks or () if isinstance(one, dict)}
                for task_id in [one for one in self.running if one not in listed]:
                    yield TaskEnded(turn_id, task_id, self.running.pop(task_id))

    def _began(self, task_id: str, turn_id: str | None) -> Iterator[HubEvent]:
        if task_id in self._titles and task_id not in self.running:
            self.running[task_id] = "cancelled"
            yield TaskBegan(turn_id, task_id, self._titles[task_id], _AGENT_TYPE, background=True)
