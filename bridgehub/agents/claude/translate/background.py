"""Commands and scheduled work that Claude Code leaves running in the background, read from its messages. No I/O.

The program calls each such command a task. It reports when one begins, moves to the background, and ends. This module
does not cover sub-agents: the program is not idle while one works, so a sub-agent is a task of the turn (`events`).

What the agent has scheduled (`ScheduleWakeup`, `CronCreate`) exists only in the program and is lost with it. So it
counts as a background task too: the hub does not end for being idle, and a person sees the task and can end it. The
program has no order to forget one, so ending it means ending the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import trio
from claude_agent_sdk import (
    SystemMessage,
    TaskNotificationMessage,
    TaskStartedMessage,
    TaskUpdatedMessage,
    UserMessage,
)

from bridgehub.agents.claude.translate.events import DELEGATED, TASK_ENDS
from bridgehub.agents.text import clean_text, cut_text
from bridgehub.protocol.events import HubEvent, TaskBegan, TaskEnded

__all__ = ["ClaudeBackground"]

_AGENT_TYPE = "command"
"""What devices show as the one at work."""

_TIMER = "timer"
"""The same for scheduled work."""

FIRES_LATE_S = 180.0
"""How long something scheduled may be late before it counts as forgotten, seconds.

The program begins when the minute changes, up to a minute after the requested time.
"""

TITLE_CHARS = 200

MAX_KNOWN = 1000
"""Newest foreground commands whose descriptions are kept, since they may move to the background."""


@attrs.define(eq=False)
class ClaudeBackground:
    """What runs in the background of one program. It lives as long as the program."""

    running: dict[str, Literal["succeeded", "failed", "cancelled"]] = attrs.field(factory=dict)
    """How each one ends if nothing more is reported: the newest known state."""
    timers: dict[str, float | None] = attrs.field(factory=dict)
    """When scheduled work begins at the earliest, by `clock`. None: it recurs."""
    clock: Callable[[], float] = trio.current_time
    _titles: dict[str, str] = attrs.field(factory=dict)

    @property
    def holds(self) -> tuple[str, ...]:
        """The ids of everything that would be lost with the program."""
        return (*self.running, *self.timers)

    def wait_s(self) -> float:
        """Return the seconds until the first scheduled work counts as forgotten."""
        known = [at for at in self.timers.values() if at is not None and math.isfinite(at)]
        return max(0.0, min(known) + FIRES_LATE_S - self.clock()) if known else math.inf

    def fired(self, *, began: bool) -> Iterator[HubEvent]:
        """Yield the end of work that was scheduled for now. `began`: the program began by itself, so nothing is late."""
        now = self.clock() - (0 if began else FIRES_LATE_S)
        for task_id, at in tuple(self.timers.items()):
            if at is not None and at <= now:
                del self.timers[task_id]
                yield TaskEnded(None, task_id, "succeeded")

    def translate(self, message: object, turn_id: str | None) -> Iterator[HubEvent]:
        """Yield the events of one message. `turn_id` is the running turn's."""
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
            case UserMessage(parent_tool_use_id=None, tool_use_result=dict(result)):
                yield from self._scheduled(result, turn_id)
            case SystemMessage(subtype="background_tasks_changed", data=data):
                tasks = data.get("tasks")
                listed = {one.get("task_id") for one in tasks or () if isinstance(one, dict)}
                for task_id in [one for one in self.running if one not in listed]:
                    yield TaskEnded(turn_id, task_id, self.running.pop(task_id))

    def _began(self, task_id: str, turn_id: str | None) -> Iterator[HubEvent]:
        if task_id in self._titles and task_id not in self.running:
            self.running[task_id] = "cancelled"
            yield TaskBegan(turn_id, task_id, self._titles[task_id], _AGENT_TYPE, background=True)

    def _scheduled(self, result: dict[str, Any], turn_id: str | None) -> Iterator[HubEvent]:
        """Take the result of a tool that schedules something or cancels it. Other results give nothing."""
        match result:
            case {"scheduledFor": int(at), "clampedDelaySeconds": int() | float() as delay}:
                begins = datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M UTC")
                begins_at = self.clock() + delay
                yield from self._set_timer(f"wakeup-{at}", begins_at, f"Continues at {begins}", turn_id)
            case {"id": str(job), "humanSchedule": str(words), "recurring": recurring}:
                # It fires once, at a time that only the program knows. So it is over when the program begins by itself.
                yield from self._set_timer(f"cron-{job}", None if recurring else -math.inf, words, turn_id)
            case {"id": str(job)} if f"cron-{job}" in self.timers:
                del self.timers[f"cron-{job}"]
                yield TaskEnded(turn_id, f"cron-{job}", "cancelled")

    def _set_timer(
        self, task_id: str, at: float | None, title: str, turn_id: str | None
    ) -> Iterator[HubEvent]:
        if task_id not in self.timers:
            self.timers[task_id] = at
            yield TaskBegan(turn_id, task_id, clean_text(title)[:TITLE_CHARS], _TIMER, background=True)
