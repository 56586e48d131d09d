"""How long an agent has said nothing while nothing else accounts for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs
import trio

from bridgehub.protocol.events import HubEvent, TaskBegan, TaskEnded, ToolBegan, ToolEnded

__all__ = ["InactivityWatchdog"]


@attrs.define(eq=False)
class InactivityWatchdog:
    """Watches one turn. A running tool, delegated work, a person who is asked and a full outbox may take any time;
    what is left is the agent itself, which waits for its model or hangs.

    Attributes:
        words: what the agent said so far. A number and no time: it is counted once for every piece of text.
    """

    words: int = 0
    _working: set[tuple[str, str]] = attrs.field(factory=set)
    _held: int = 0

    def heard(self, event: HubEvent) -> None:
        """Take note of an event of the agent."""
        self.words += 1
        if isinstance(event, ToolBegan):
            self._working.add(("tool", event.tool_id))
        elif isinstance(event, ToolEnded):
            self._working.discard(("tool", event.tool_id))
        elif isinstance(event, TaskBegan) and not event.background:
            self._working.add(("task", event.task_id))
        elif isinstance(event, TaskEnded):
            self._working.discard(("task", event.task_id))

    @contextmanager
    def held(self) -> Iterator[None]:
        """The agent waits for somebody else while inside the block."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.words += 1

    async def lasted(self, limit_s: float) -> None:
        """Return once the agent has been silent for `limit_s`, at most twice that. Cancelling it changes nothing."""
        known = -1
        while self._held or self._working or known != self.words:
            known = self.words
            await trio.sleep(limit_s)
