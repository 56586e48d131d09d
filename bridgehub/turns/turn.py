"""The turn that a hub runs now, and the ends that the hub itself gives it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import attrs
import trio

from bridgehub.agents.base import AgentDriver, TurnEnd
from bridgehub.protocol.errors import unwrap
from bridgehub.protocol.events import TurnFailed
from bridgehub.protocol.messages import Prompt
from bridgehub.turns.sink import TurnSink
from bridgehub.turns.steering import LAST_WORD_S, TurnSteering

__all__ = ["RunningTurn"]

_log = logging.getLogger("builderos.bridgehub")

GRACE_S = 1.2
"""How long an interrupted driver has before it is cancelled. With the other waits the whole stays under 1.7 s, after
which the server kills the hub."""

_PROGRAM_GONE = frozenset({"agent_exited", "agent_protocol", "timeout"})
"""Ends after which the agent's program is not there any more, whatever it was."""


@attrs.define(eq=False)
class RunningTurn:
    """One turn, from its prompt to its end.

    Attributes:
        prompt: None: the agent began it by itself.
        stopping: whether a person interrupted it.
        silent: whether the agent hung, and is stopped for that.
        changed: set once it ends or is to be stopped.
        driven: set once the driver returned.
        end: what the driver returned; None if it was cut short.
    """

    turn_id: str
    prompt: Prompt | None
    sink: TurnSink
    steering: TurnSteering
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    stopping: bool = False
    silent: bool = False
    watching: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    changed: trio.Event = attrs.field(factory=trio.Event)
    driven: trio.Event = attrs.field(factory=trio.Event)
    end: TurnEnd | None = None

    def stop(self) -> None:
        """Note that a person interrupts it."""
        self.stopping = True
        self.changed.set()

    def finish(self, end: TurnEnd | None) -> None:
        """Note what the driver returned."""
        self.end = end
        self.driven.set()
        self.changed.set()

    def fail(self, agent: str, error: BaseException) -> None:
        """Note that the agent's driver raised."""
        content = f"agent {agent!r} failed: {type(unwrap(error)).__name__}"
        self.finish(TurnFailed(self.turn_id, "agent_exited", content, retryable=True))

    def timed_out(self, agent: str, limit_s: float | None) -> TurnFailed:
        """Return the end of a turn whose agent hung."""
        content = f"agent {agent!r} said nothing for {limit_s:g} s and was stopped"
        return TurnFailed(self.turn_id, "timeout", content, retryable=True)

    def may_steer(self) -> bool:
        """Return whether the driver still takes messages into it."""
        return not self.stopping and not self.driven.is_set()

    @property
    def spoils_driver(self) -> bool:
        """Whether its driver is not trusted with another turn."""
        exited = isinstance(self.end, TurnFailed) and self.end.code == "agent_exited"
        return self.end is None or self.silent or exited

    @property
    def ended_program(self) -> bool:
        """Whether the agent's program is gone, so that the commands of its tools have to be killed."""
        return self.silent or (isinstance(self.end, TurnFailed) and self.end.code in _PROGRAM_GONE)

    async def watch_silence(self, limit_s: float | None) -> None:
        """End the turn of an agent that hangs: that says nothing for `limit_s`. None: any silence is fine."""
        if limit_s is None:
            return
        with self.watching:
            await self.sink.silence.lasted(limit_s)
            self.silent = not self.changed.is_set()
            self.changed.set()

    async def stop_driver(self, driver: AgentDriver, kill_processes: Callable[[], Awaitable[None]]) -> None:
        """Ask the driver to stop the turn; by force if it takes longer than `GRACE_S`."""
        with trio.move_on_after(GRACE_S):
            try:
                await driver.interrupt()
            except Exception:
                _log.exception("turn %s: the driver could not be asked to stop", self.turn_id)
            await self.driven.wait()
        if self.driven.is_set():
            return
        self.scope.cancel(reason="interrupted by force")
        await kill_processes()
        with trio.move_on_after(LAST_WORD_S):
            await self.driven.wait()
        self.end = None  # whatever it says now, the driver is not trusted with another turn
