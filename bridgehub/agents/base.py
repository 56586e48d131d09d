"""The interface between a hub and an agent's driver. A driver lives inside a hub, one per session.

To write a driver, write a class with this shape in a module of its own and name that module in
`bridgehub.agents.registry`. The driver only translates. The hub numbers events, buffers them, holds the links and kills
processes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs
import trio

from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.events import HubEvent, TurnDone, TurnFailed, TurnStopped
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Decided, History, Prompt, Steer

if TYPE_CHECKING:
    from bridgehub.trust.finding import Findings

__all__ = [
    "JOIN_S",
    "AgentDriver",
    "BeganAtDesk",
    "Joinable",
    "Overheard",
    "SelfStarter",
    "Sink",
    "Tell",
    "TurnEnd",
    "Warmable",
    "refused_at_once",
    "wait_gathered",
]

TurnEnd = TurnDone | TurnFailed | TurnStopped
"""`TurnStopped`: somebody else stopped the turn, in the agent's own program."""

Tell = Callable[[HubEvent], Awaitable[None]]
"""Reports something that belongs to no turn: `AgentOffered`, `Gauged`, `SettingsTold`."""

JOIN_S = 0.002
"""How long a driver gathers pieces of text behind the piece that it has just read, seconds.

A program writes up to 35,000 pieces a second, one line each. Handled one by one, each piece costs several task switches
here, a line to the server, a commit and a frame. After 2 ms about sixty arrive as one. At the pace of a person nothing
waits, because only what arrives within this time after a piece is gathered.
"""


async def wait_gathered(source: int, ripe_at: float) -> None:
    """Wait until a descriptor can be read, and then until `ripe_at`: what has come by then is one read.

    In this order nobody wakes twice for a piece at the pace of a person. Returns at once if it is closed: the
    read shows that.
    """
    try:
        await trio.lowlevel.wait_readable(source)
    except (trio.ClosedResourceError, OSError, ValueError):  # a closed one's number is -1
        return
    if trio.current_time() < ripe_at:
        await trio.sleep_until(ripe_at)


def refused_at_once(end: TurnEnd | None, *, has_past: bool) -> TurnEnd | None:
    """Return a turn's end. A refused conversation without an earlier answer counts as a refused message."""
    if isinstance(end, TurnFailed) and end.code == "conversation_refused" and not has_past:
        return attrs.evolve(end, code="model_error", ways=())
    return end


@attrs.frozen
class BeganAtDesk:
    """A turn that a person began in the agent's own program, which this session shares.

    Attributes:
        turn_id: its ID, unique in the session.
        said: the person's message. None: it began without one.
    """

    turn_id: str
    said: str | None


class Sink(Protocol):
    """Where a driver reports a running turn."""

    async def emit(self, event: HubEvent) -> None:
        """Number and keep an event. Waits while the hub's buffers are full. Never pass a turn's end."""
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
        """Ask a person and wait without a time limit. Cancelled with the turn.

        Args:
            tool, tool_input: what the agent wants to do.
            questions: what the agent asks, if it wants information instead of a permission.
            grant: what `allow_session` allows from now on, in words for a person. While it is allowed, the answer comes
                at once and nobody is asked. None: only this call can be allowed.
            task_id: the delegated task that asks.
            words: what a person reads of the request. None: the words follow from the tool's name and input.
        """
        ...

    async def tell_withdrawn(self) -> None:
        """Report that the requests whose `ask` was cancelled are settled: a person answered in the agent's program."""
        ...

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        """Ask a person whether to load a folder's settings, and wait. Cancelled with the turn.

        The request shows nothing of the prompt, which the agent does not have yet. A "no" holds for the session: later
        calls return it at once.

        Args:
            agent: the kind of agent whose program would load the settings.
            found: what would run.
            options: the possible answers. Without `deny` a "no" is not kept.
            task_id: the delegated task that asks.
        """
        ...

    async def history(self, limit_bytes: int) -> History:
        """Return what was said in the session before this turn: the newest messages that fit."""
        ...

    async def remember(self, data: dict[str, Any]) -> None:
        """Pass this to the session's next hub: small data without secrets. It replaces what was remembered before."""
        ...

    async def work_saved(self) -> None:
        """Wait until the workspace is saved in its state before this turn, or cannot be saved.

        A driver that can delay its agent's tools calls it before the first one. Any other driver calls it just before it
        gives the agent the prompt; then it waits at most `bridgehub.turns.checkpoints.PROMPT_WAIT_S`.
        """
        ...

    def new_id(self) -> str:
        """Return an id, unique in this session."""
        ...


@runtime_checkable
class Overheard(Protocol):
    """Additional method of a driver that hears from its agent between two turns."""

    async def wait_own_work(self, tell: Tell) -> BeganAtDesk | None:
        """Report what happens between two turns. Return once the agent has begun something by itself.

        The result says what a person began in the agent's own program. None: the agent began without a person. An agent
        that never begins by itself is listened to until that is cancelled, by a prompt. The turn of that prompt reports
        what the driver has already read from the agent.
        """
        ...


@runtime_checkable
class SelfStarter(Overheard, Protocol):
    """Additional methods of a driver whose agent does something without a prompt.

    The driver reports work that may outlive its turn as `TaskBegan` with `background`, and its end as `TaskEnded`. Both may
    come in a turn or between two turns.
    """

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Report what the agent does until it is done. Called after `wait_own_work` returned, like `run_turn`."""
        ...

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End a background task, in a turn or between two turns. Its `TaskEnded` may follow.

        Raises:
            Exception: the agent could not be asked. The task counts as ended all the same.
        """
        ...


@runtime_checkable
class Joinable(Protocol):
    """Additional method of a driver whose program a terminal can join."""

    def expect_terminal(self) -> None:
        """Keep the program that runs for a while: a terminal is about to join it."""
        ...


@runtime_checkable
class Warmable(Protocol):
    """Additional method of a driver whose agent's program takes time to start."""

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Start the program for the next turn if it does not run. Cancelled if that turn is interrupted.

        The hub replaces a driver that raises or is cancelled. So neither may change anything except the program.

        Args:
            prompt: what is known of that turn: `taken_before` and `setup`. The rest is empty.
            sink: takes what the agent offers. Call `remember` only in the turn itself. This sink asks nobody and has no
                history: a start that needs a person or the history raises.

        Raises:
            Exception: the program could not be started now. The turn starts it.
        """
        ...


class AgentDriver(Protocol):
    """One conversation, seen from the agent's side."""

    can_steer: bool

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        """Give the prompt to the agent and report until its turn ends.

        The turn starts with `Prompt.setup`. A delegate's prompt has none: its turn starts with the settings of its spec.
        The driver emits `AgentOffered` when it knows what the agent offers and when that changes. It emits `Consumed` once
        the agent has taken the prompt. After `interrupt` it returns soon, with any end: the hub reports the turn as
        stopped.

        Returns:
            The turn's end.

        Raises:
            Exception: any failure. The hub ends the turn with `agent_exited` and closes the driver.
        """
        ...

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Take the session's settings as they are now: at once if the agent can, else with the next turn.

        Called during `run_turn` and between turns, once the driver exists. `Prompt.setup` has the same settings at the
        start of each turn. Report what the agent refuses, and what it changes by itself, as `SettingsTold`.

        Raises:
            Exception: the settings could not be applied now. The next turn's `Prompt.setup` brings them again.
        """
        ...

    async def after_turn(self, tell: Tell) -> None:
        """Report a `Gauged` after a turn's end if the agent reports anything. May run during the next turn.

        Raises:
            Exception: the agent's figures are not available now.
        """
        ...

    async def steer(self, steer: Steer) -> bool:
        """Give the running turn one more user message. Return whether the agent took it.

        Called only if `can_steer` allows it, during `run_turn`. Cancelled with the turn's end.

        Raises:
            Exception: it is unknown whether the agent took it. Then the message is never sent again automatically.
        """
        ...

    async def interrupt(self) -> None:
        """Ask the agent to stop its turn. The hub kills the agent if the turn does not end in time."""
        ...

    async def aclose(self) -> None:
        """End the agent's process. Idempotent."""
        ...
