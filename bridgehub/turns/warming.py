"""Starts the agent's program before the message comes: somebody is about to write.

Nothing of it is in the journal. What the driver wants remembered of a new conversation is reported with the turn that uses
it; if none comes, the hub ends with all of it, and the session's next hub knows of nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import trio

from bridgehub.agents.base import AgentDriver, Sink, Tell, Warmable
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import AgentOffered, HubEvent, Joined, TaskEnded
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided, History, Prompt

if TYPE_CHECKING:
    from bridgehub.trust.finding import Findings

__all__ = ["Warming"]

_log = logging.getLogger("builderos.bridgehub")

WARM_S = 60.0
"""How long a program may take to start before anybody waits for it."""


class NotNow(Exception):
    """The start needs a person, or what was said before: it waits for the message."""


@attrs.define(eq=False)
class Warming:
    """One a hub. `tell`: reports what is of no turn."""

    tell: Tell
    new_id: Callable[[], str]
    _scope: trio.CancelScope | None = None
    _memory: dict[str, Any] | None = None

    async def warm_up(self, driver: AgentDriver, taken_before: int, setup: Setup) -> bool:
        """Have the driver start its program; return whether it may be used on."""
        if not isinstance(driver, Warmable):
            await trio.lowlevel.checkpoint()
            return True
        sink = _WarmSink(self.tell, self.new_id)
        reason = ""
        with trio.move_on_after(WARM_S) as self._scope:  # noqa: ASYNC912 - the driver waits
            try:
                await driver.warm_up(Prompt("", "", "", taken_before, setup=setup), sink)
            except* Exception as group:
                reason = type(unwrap(group)).__name__
        is_cut = self._scope.cancel_called
        self._scope = None
        if reason or is_cut:
            _log.info("the program is not started before the message: %s", reason or "it was given up")
            self._memory = None
            return False
        if sink.memory is not None:
            self._memory = sink.memory
        return True

    def stop(self) -> None:
        """Give up a start that is under way: the message that waits for it is no longer wanted."""
        if self._scope is not None:
            self._scope.cancel(reason="the turn was interrupted")

    async def begin_turn(self, sink: Sink) -> None:
        """Have remembered what the start brought."""
        memory, self._memory = self._memory, None
        if memory is not None:
            await sink.remember(memory)


@attrs.define(eq=False)
class _WarmSink:
    """What a driver reports to while it starts its program (`agents.base.Sink`)."""

    tell: Tell
    new_id: Callable[[], str]
    memory: dict[str, Any] | None = None

    async def emit(self, event: HubEvent) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(event, AgentOffered | TaskEnded | Joined):  # the rest is reported again in the turn
            await self.tell(event)

    async def ask(
        self,
        tool: str,
        tool_input: object,
        questions: object = None,
        *,
        grant: str | None = None,
        task_id: str | None = None,
        words: RequestWords | None = None,
    ) -> Decided:
        return await _not_now("a question waits")

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        return await _not_now("nobody has said whether the folder is trusted")

    async def tell_withdrawn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def history(self, limit_bytes: int) -> History:
        return await _not_now("the agent lost its conversation")

    async def remember(self, data: dict[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        self.memory = data

    async def work_saved(self) -> None:
        await trio.lowlevel.checkpoint()


async def _not_now(why: str) -> NoReturn:
    await trio.lowlevel.checkpoint()
    raise NotNow(why)
