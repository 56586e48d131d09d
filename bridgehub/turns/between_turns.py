"""What an agent does without a prompt: it begins a turn by itself, and work continues in the background.

Between two turns the driver is listened to (`agents.base.Overheard`) until a prompt comes or the agent has begun.
Which tasks run in the background is known from what the driver reports; whatever ends its program ends them.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from bridgehub.agents.base import BeganAtDesk, Overheard, SelfStarter
from bridgehub.outbox import Outbox
from bridgehub.protocol.events import HubEvent, Joined, TaskBegan, TaskEnded
from bridgehub.protocol.messages import Prompt, WarmUp

__all__ = ["BetweenTurns"]

_log = logging.getLogger("builderos.bridgehub")

STOP_TASK_S = 1.0
"""How long a driver may take to end a task in the background; after that it counts as ended."""


@attrs.define(eq=False)
class BetweenTurns:
    """One a hub.

    Attributes:
        tell: reports an event that is of no turn.
        on_change: called when a task in the background began or ended.
        background: the turn that started each task in the background, by the task's id.
    """

    outbox: Outbox
    prompts: trio.MemoryReceiveChannel[Prompt | WarmUp]
    tell: Callable[[HubEvent], Awaitable[None]]
    on_change: Callable[[], object]
    background: dict[str, str | None] = attrs.field(factory=dict)
    _is_joined: bool = False
    """Whether terminals share the agent's program, as last reported."""
    _to_stop: deque[str] = attrs.field(factory=deque)
    _stop_came: trio.Event = attrs.field(factory=trio.Event)

    async def next_prompt(self, driver: object) -> Prompt | WarmUp | BeganAtDesk | None:
        """Wait for the next prompt; `BeganAtDesk` or None if the agent has begun with something before one came.

        A wish to have the agent's program ready comes in its order among the prompts.
        """
        if not isinstance(driver, Overheard):
            return await self.prompts.receive()
        began = False
        by_person: BeganAtDesk | None = None
        prompt: Prompt | WarmUp | None = None
        async with trio.open_nursery() as nursery:

            async def wait_prompt() -> None:
                nonlocal prompt
                prompt = await self.prompts.receive()
                nursery.cancel_scope.cancel(reason="a prompt came")

            nursery.start_soon(wait_prompt)
            try:
                by_person = await driver.wait_own_work(self.tell_and_note)
                began = True
            except Exception:
                _log.exception("what the agent does between two turns is not known")
            if began:
                nursery.cancel_scope.cancel(reason="the agent began by itself")
        assert prompt is not None or began
        return by_person if prompt is None else prompt

    async def tell_and_note(self, event: HubEvent) -> None:
        """Report an event that is of no turn."""
        self.note(event)
        await self.tell(event)

    def note(self, event: HubEvent) -> None:
        """Take note of a task in the background that begins or ends, and of terminals that join or leave."""
        if isinstance(event, Joined):
            self._is_joined = event.is_joined
        elif isinstance(event, TaskBegan) and event.background:
            self.background[event.task_id] = event.turn_id
            self.on_change()
        elif isinstance(event, TaskEnded) and event.task_id in self.background:
            del self.background[event.task_id]
            self.on_change()

    def stop_task_nowait(self, task_id: str) -> None:
        """Have a task in the background ended; nothing if it does not run."""
        if task_id in self.background:
            self._to_stop.append(task_id)
            self._stop_came.set()

    async def stop_tasks(self, driver: Callable[[], object]) -> None:
        """End the tasks that are to be stopped, until cancelled."""
        while True:
            await self._stop_came.wait()
            self._stop_came = trio.Event()
            while self._to_stop:
                await self._stop(driver(), self._to_stop.popleft())

    async def stop_tasks_of(self, driver: object, turn_id: str) -> None:
        """End what a turn left in the background."""
        for task_id in [one for one, turn in self.background.items() if turn == turn_id]:
            await self._stop(driver, task_id)

    async def lose_all(self) -> None:
        """Say that everything in the background has ended, and that no terminal is there: the agent's program is gone."""
        if self._is_joined:
            await self.tell_and_note(Joined(None, is_joined=False))
        for task_id in tuple(self.background):
            await self.tell_and_note(TaskEnded(None, task_id, "cancelled"))

    async def _stop(self, driver: object, task_id: str) -> None:
        if isinstance(driver, SelfStarter):
            with trio.move_on_after(STOP_TASK_S):  # noqa: ASYNC912 - the driver waits
                try:
                    await driver.stop_task(task_id, self.tell_and_note)
                except Exception:
                    _log.exception("a task in the background could not be ended")
        if task_id in self.background:
            await self.tell_and_note(TaskEnded(None, task_id, "cancelled"))
