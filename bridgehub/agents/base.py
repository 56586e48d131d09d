"""What a hub asks of an agent's driver. A driver lives inside a hub, one per session.

To write one: a class with this shape, in a module of its own, named in `bridgehub.agents.registry`. The
driver translates; numbers, buffers, links and processes to kill are the hub's business.
"""

from __future__ import annotations

from typing import Protocol

from bridgehub.protocol.messages import (
    Decided,
    HubEvent,
    Prompt,
    TurnDone,
    TurnFailed,
)

__all__ = ["AgentDriver", "Sink", "TurnEnd"]

TurnEnd = TurnDone | TurnFailed


class Sink(Protocol):
    """Where a driver reports one running turn."""

    async def emit(self, event: HubEvent) -> None:
        """Number and keep an event. Waits while the hub's buffers are full. Never a turn's end."""
        ...

    async def ask(self, tool: str, tool_input: object, questions: object = None) -> Decided:
        """Ask a person and wait, for as long as it takes. Cancelled with the turn."""
        ...

    def new_id(self) -> str:
        """Return an id, unique in this session."""
        ...

class AgentDriver(Protocol):
    """One agent-side conversation."""

    can_steer: bool

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends.

        Emits `Consumed` once the agent has taken the prompt. Returns the end. After `interrupt` it returns
        soon, with any end; the hub reports the turn as stopped.

        Raises:
            Exception: whatever went wrong; the hub ends the turn with `agent_exited`, and closes the driver.
        """
        ...

    async def interrupt(self) -> None:
        """Ask the agent politely to stop its turn. The hub kills it where this does not help in time."""
        ...

    async def aclose(self) -> None:
        """End the agent's process. Idempotent."""
        ...
