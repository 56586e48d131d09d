"""Commands that Codex leaves running after their turn, as tasks in the background. No I/O.

Codex goes on without a command that takes longer than the model wants to wait; whether it outlives the turn is known at
the turn's end only: its item is still open then. Codex tells its end by the item's completion, whenever that comes, and
wakes nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import attrs
import trio

from bridgehub.agents.base import Tell
from bridgehub.agents.codex.items import Tool, tool_outcome
from bridgehub.agents.codex.protocol import Notification, ServerRequest
from bridgehub.agents.text import clean_text, cut_text
from bridgehub.protocol.messages import HubEvent, TaskBegan, TaskEnded

__all__ = ["Background"]

_AGENT_TYPE = "command"
"""What devices are told to be at work."""

TITLE_CHARS = 200
"""Of a command; a client shows a line."""


@attrs.define(eq=False)
class Background:
    """What runs in the background of one program. It lives as long as the program.

    Attributes:
        running: Codex's own ids of the commands' processes, by the ids of their items.
        ended: what has ended and is not told yet.
    """

    running: dict[str, str] = attrs.field(factory=dict)
    ended: deque[TaskEnded] = attrs.field(factory=deque)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def leave(self, turn_id: str, tools: Iterable[Tool]) -> Iterator[HubEvent]:
        """Give what begins if these calls outlive their turn."""
        for tool in tools:
            if tool.name == "shell" and tool.item_id not in self.running:
                self.running[tool.item_id] = tool.process_id
                command = tool.input.get("command") if isinstance(tool.input, dict) else None
                title = " ".join(clean_text(str(command or "a command")).split())[:TITLE_CHARS]
                yield TaskBegan(turn_id, tool.item_id, title, _AGENT_TYPE, background=True)

    def hear(self, told: Notification | ServerRequest) -> bool:
        """Take what the program says; return whether it was the end of something in the background."""
        if not isinstance(told, Notification) or told.method != "item/completed":
            return False
        item = told.params.inner("item")
        if item.text("id") not in self.running:
            return False
        del self.running[item.text("id")]
        output, is_error = tool_outcome(item)
        state: Literal["succeeded", "failed"] = (
            "failed" if is_error or item.count("exitCode") else "succeeded"
        )
        self.ended.append(TaskEnded(None, item.text("id"), state, cut_text(output).value))
        self._news.set()
        return True

    def hear_idle(self, told: Notification | ServerRequest) -> None:
        """Take what the program says between two turns (`Speech.idle`)."""
        self.hear(told)

    def stop(self, item_id: str) -> TaskEnded:
        """Count one as ended by the person; what Codex says of it from now on is nothing new."""
        self.running.pop(item_id, None)
        return TaskEnded(None, item_id, "cancelled")

    def lose(self) -> None:
        """Count all that runs as ended: the program is gone."""
        self.ended += [self.stop(item_id) for item_id in tuple(self.running)]
        self._news.set()

    async def tell_ended(self, tell: Tell) -> None:
        """Tell what has ended. Cancelled it keeps the rest."""
        await trio.lowlevel.checkpoint()
        while self.ended:
            await tell(self.ended[0])
            self.ended.popleft()

    async def wait(self) -> None:
        """Wait until something has ended."""
        await trio.lowlevel.checkpoint()
        while not self.ended:
            self._news = trio.Event()
            await self._news.wait()
