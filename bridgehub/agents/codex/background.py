"""Commands that Codex and its agents leave running after their turn, as background tasks. No I/O.

If a command takes longer than the model wants to wait, Codex continues without it. Only at the turn's end is it known
whether the command outlives the turn: then its item is still open. Codex reports the end of the command by completing
the item, at any later time, and wakes nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import attrs
import trio

from bridgehub.agents.base import Tell
from bridgehub.agents.codex.translate.items import CodexToolCall, tool_outcome
from bridgehub.agents.json_rpc.messages import Notification, ServerRequest
from bridgehub.agents.text import clean_text, cut_text
from bridgehub.protocol.events import HubEvent, TaskBegan, TaskEnded

__all__ = ["CodexBackground"]

_AGENT_TYPE = "command"
"""What devices show as the one at work."""

TITLE_CHARS = 200
"""Code points of a command's title. A client shows one line."""


@attrs.define(eq=False)
class CodexBackground:
    """What runs in the background of one program. It lives as long as the program.

    Attributes:
        running: the thread of each command and Codex's own id of its process, by the ids of their items.
        ended: ends that are not reported yet.
    """

    running: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    ended: deque[TaskEnded] = attrs.field(factory=deque)
    _news: trio.Event = attrs.field(factory=trio.Event)

    def leave(self, turn_id: str, calls: Iterable[tuple[str, CodexToolCall]]) -> Iterator[HubEvent]:
        """Yield the start of a background task for each of these calls, which outlive their turn, with its thread."""
        for thread_id, tool in calls:
            if tool.name == "shell" and tool.item_id not in self.running:
                self.running[tool.item_id] = (thread_id, tool.process_id)
                command = tool.input.get("command") if isinstance(tool.input, dict) else None
                title = " ".join(clean_text(str(command or "a command")).split())[:TITLE_CHARS]
                yield TaskBegan(turn_id, tool.item_id, title, _AGENT_TYPE, background=True)

    def hear(self, told: Notification | ServerRequest) -> bool:
        """Take what the program sends. Return whether it is the end of a background command."""
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

    def stop(self, item_id: str) -> TaskEnded:
        """Count a command as ended by the person. What Codex reports of it later is ignored."""
        self.running.pop(item_id, None)
        return TaskEnded(None, item_id, "cancelled")

    def lose(self) -> None:
        """Count all running commands as ended, because the program has ended."""
        self.ended += [self.stop(item_id) for item_id in tuple(self.running)]
        self._news.set()

    async def tell_ended(self, tell: Tell) -> None:
        """Report what has ended. If cancelled, it keeps the rest."""
        await trio.lowlevel.checkpoint()
        while self.ended:
            await tell(self.ended[0])
            self.ended.popleft()

    async def wait(self) -> None:
        """Wait until a command has ended."""
        await trio.lowlevel.checkpoint()
        while not self.ended:
            self._news = trio.Event()
            await self._news.wait()
