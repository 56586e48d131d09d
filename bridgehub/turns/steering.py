"""The messages that are steered into one turn: brought to the driver in order, each with exactly one outcome."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import attrs
import trio

from bridgehub.agents.base import AgentDriver
from bridgehub.outbox import Outbox
from bridgehub.protocol.events import SteerLost, SteerRefused, SteerTaken
from bridgehub.protocol.messages import Steer

__all__ = ["LAST_WORD_S", "TurnSteering"]

_log = logging.getLogger("builderos.bridgehub")

LAST_WORD_S = 0.1
"""How long a cancelled driver may take to notice, and a steered message to have its outcome."""


@attrs.define(eq=False)
class _Steered:
    """A steered message: what is known of it, and whether the server knows. Refused as long as not tried."""

    steer: Steer
    outcome: type[SteerTaken | SteerRefused | SteerLost] = SteerRefused
    reported: bool = False
    tried: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class TurnSteering:
    """What is steered into the turn `turn_id`. `messages`: by message id, all that came."""

    turn_id: str
    outbox: Outbox
    messages: dict[str, _Steered] = attrs.field(factory=dict)
    _wanted: deque[_Steered] = attrs.field(factory=deque)
    _came: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _over: trio.Event = attrs.field(factory=trio.Event)

    def take_nowait(self, steer: Steer) -> None:
        """Have a message brought to the driver; nothing if the turn had it before."""
        if steer.message_id not in self.messages:
            self.messages[steer.message_id] = steered = _Steered(steer)
            self._wanted.append(steered)
            self._came.set()

    async def run(self, driver: AgentDriver, may_try: Callable[[], bool]) -> None:
        """Bring messages to the driver, in order, until `end`; refuse those for which `may_try` is False."""
        try:
            with self._scope:
                while True:
                    await self._came.wait()
                    self._came = trio.Event()
                    while self._wanted:
                        await self._bring(driver, self._wanted.popleft(), may_try)
        finally:
            self._over.set()

    async def end(self, *, driven: bool) -> None:
        """Have no message tried any more. Of a turn that was `driven` what was tried has a moment for its outcome."""
        self._wanted.clear()
        if driven:
            with trio.move_on_after(LAST_WORD_S):  # noqa: ASYNC912 - there may be none to wait for
                for steered in self.messages.values():
                    if steered.outcome is SteerLost:
                        await steered.tried.wait()
        self._scope.cancel(reason="the turn ended")
        with trio.move_on_after(LAST_WORD_S):
            await self._over.wait()

    async def report_rest(self) -> None:
        """Report the outcome of each message that has none yet."""
        for steered in self.messages.values():
            if not steered.reported:
                steered.reported = True
                await self.outbox.put(steered.outcome(self.turn_id, steered.steer.message_id))

    async def _bring(self, driver: AgentDriver, steered: _Steered, may_try: Callable[[], bool]) -> None:
        if driver.can_steer and may_try():
            steered.outcome = SteerLost  # if it is cancelled or fails, nobody knows
            try:
                taken = await driver.steer(steered.steer)
            except Exception:
                _log.exception("turn %s: a message could not be steered", self.turn_id)
                return
            finally:
                steered.tried.set()
            steered.outcome = SteerTaken if taken else SteerRefused
        if not steered.reported:
            # Marked behind the put: one that is cancelled left no trace, and the turn's end puts it.
            await self.outbox.put(steered.outcome(self.turn_id, steered.steer.message_id))
            steered.reported = True
