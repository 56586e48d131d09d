"""What a hub asks of an agent's driver. A driver lives inside a hub, one per session.

To write one: a class with this shape, in a module of its own, named in `bridgehub.agents.registry`. The
driver translates; numbers, buffers, links and processes to kill are the hub's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.messages import (
    Decided,
    History,
    HubEvent,
    Prompt,
    Setup,
    Steer,
    TurnDone,
    TurnFailed,
)

if TYPE_CHECKING:
    from bridgehub.trust.finding import Findings

__all__ = ["JOIN_S", "AgentDriver", "SelfStarter", "Sink", "Tell", "TurnEnd", "Warmable", "refused_at_once"]

TurnEnd = TurnDone | TurnFailed

Tell = Callable[[HubEvent], Awaitable[None]]
"""Reports something that is of no turn: `AgentOffered`, `Gauged`, `SettingsTold`."""

JOIN_S = 0.002
"""How long a driver lets its agent's pieces of text gather behind the one that it has just read.

A program writes up to 35,000 a second, a line each. Read one by one each would be a turn of several tasks here, a
line to the server, a commit and a frame; after 2 ms some sixty come as one. A person's pace is far slower, and
nothing waits there: only what comes within this time of a piece does.
"""


def refused_at_once(end: TurnEnd | None, *, has_past: bool) -> TurnEnd | None:
    """Return a turn's end: without an answer before it, a refused conversation is no more than a refused message."""
    if isinstance(end, TurnFailed) and end.code == "conversation_refused" and not has_past:
        return attrs.evolve(end, code="model_error", ways=())
    return end


class Sink(Protocol):
    """Where a driver reports one running turn."""

    async def emit(self, event: HubEvent) -> None:
        """Number and keep an event. Waits while the hub's buffers are full. Never a turn's end."""
        ...

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
        """Ask a person and wait, for as long as it takes. Cancelled with the turn.

        Args:
            tool, tool_input: what the agent wants to do.
            questions: where it asks something rather than for a right.
            grant: what `allow_session` would allow from now on, in words for a person; while it is allowed
                the answer comes at once and nobody is asked. None: no more than this call.
            task_id: the delegated task that asks.
            words: what a person reads of the request; None: what the tool's name tells.
        """
        ...

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        """Ask a person whether a folder's settings may be loaded, and wait. Cancelled with the turn.

        It says nothing of the prompt: the agent has none yet. A "no" holds for the session and comes at once then.

        Args:
            agent: the kind whose program would load them.
            found: what would run.
            options: what may be answered; without `deny` a "no" is not kept.
            task_id: the delegated task that asks.
        """
        ...

    async def history(self, limit_bytes: int) -> History:
        """Return what was said in the session before this turn, the newest of it that fits."""
        ...

    async def remember(self, data: dict[str, Any]) -> None:
        """Have the session's next hub know this: small, no secrets; replaces what was remembered before."""
        ...

    async def work_saved(self) -> None:
        """Wait until the workspace is saved as it was before this turn, or will not be: tools may run then."""
        ...

    def new_id(self) -> str:
        """Return an id, unique in this session."""
        ...


@runtime_checkable
class SelfStarter(Protocol):
    """What a driver has besides, if its agent does something without a prompt.

    Work that may go on after its turn is told as `TaskBegan` with `background`, and its end as `TaskEnded`, in a turn or
    between two.
    """

    async def wait_own_work(self, tell: Tell) -> None:
        """Report what happens between two turns; return once the agent has begun with something by itself.

        Cancelled when a prompt comes. What it has taken from the agent by then is told in that prompt's turn.
        """
        ...

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report what the agent does until it is done. Called after `wait_own_work` returned, like `run_turn`."""
        ...

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End a task in the background, in a turn or between two. Its `TaskEnded` may follow.

        Raises:
            Exception: it could not be asked to; it counts as ended all the same.
        """
        ...


@runtime_checkable
class Warmable(Protocol):
    """What a driver has besides, if its agent's program takes time to start."""

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Start the program for the turn that may come; nothing if it runs. Cancelled if that turn is interrupted.

        The hub replaces a driver that raises, and one that is cancelled: neither may have changed more than the program.

        Args:
            prompt: what is known of that turn, `taken_before` and `setup`; the rest is empty.
            sink: takes what the agent offers. What it is to remember is told in that turn. It asks nobody and has no
                history: a start that needs a person or the history raises.

        Raises:
            Exception: the program could not be started now; the turn starts it.
        """
        ...


class AgentDriver(Protocol):
    """One agent-side conversation."""

    can_steer: bool

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends.

        The turn starts with `Prompt.setup`; a delegate's has none, and starts with the settings of its spec. Emits
        `AgentOffered` when it knows what the agent offers, and again when that changes. Emits `Consumed` once the agent
        has taken the prompt. Returns the end. After `interrupt` it returns soon, with any end; the hub reports the turn
        as stopped.

        Raises:
            Exception: whatever went wrong; the hub ends the turn with `agent_exited`, and closes the driver.
        """
        ...

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Take the session's settings as they are now: at once if the agent can, else with the next turn.

        Called beside `run_turn` and between turns, once the driver is made; `Prompt.setup` has the same at the start
        of each turn. What the agent refuses, and what it changes by itself, it tells as `SettingsTold`.

        Raises:
            Exception: it could not be done now; the next turn's `Prompt.setup` brings it again.
        """
        ...

    async def after_turn(self, tell: Tell) -> None:
        """Tell a `Gauged` after a turn's end, if the agent reports anything. May run beside the next turn.

        Raises:
            Exception: it could not be had now.
        """
        ...

    async def steer(self, steer: Steer) -> bool:
        """Give the running turn one more user message; return whether the agent took it.

        Called only where `can_steer` says so, beside `run_turn`. Cancelled with the turn's end.

        Raises:
            Exception: nobody knows whether it took it; the message is then never sent again by itself.
        """
        ...

    async def interrupt(self) -> None:
        """Ask the agent politely to stop its turn. The hub kills it where this does not help in time."""
        ...

    async def aclose(self) -> None:
        """End the agent's process. Idempotent."""
        ...
