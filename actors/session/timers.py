"""When a session's actor acts without mail: messages for later, a turn that does not end, a hub or an actor that idles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from actors.config import ActorConfig
from actors.events.committed import TURN_ENDS, Committed
from actors.events.work import TaskFinished
from actors.ports import Clock
from actors.session.effect_runner import EffectRunner
from actors.session.hub_owner import HubOwner
from actors.session.state import SessionState
from actors.tail import Tail

__all__ = ["Timers"]

CLOCK_S = 1.0
"""How often the clock of the wall is looked at, at least, while a message waits for its time."""

_ENDS = TURN_ENDS | {TaskFinished.kind}


@attrs.define(eq=False)
class Timers:
    """The moments of one session, by Trio's clock, for as long as its state is good.

    Attributes:
        idle_since: since when nothing has happened.
        stop_at: when a turn that was interrupted is ended by force.
    """

    config: ActorConfig
    clock: Clock
    state: SessionState
    owner: HubOwner
    effects: EffectRunner
    tail: Tail
    idle_since: float = attrs.field(factory=trio.current_time)
    stop_at: float = math.inf

    def __attrs_post_init__(self) -> None:
        self._note_stop()

    def note(self, items: Sequence[Committed]) -> None:
        """Take note of events that were committed and carried out."""
        self._note_stop()
        if self.state.turn is not None or any(item.event.kind in _ENDS for item in items):
            self.idle_since = trio.current_time()

    def queue_due_s(self) -> float:
        """Return how long it is until the queue must be looked at, in a turn too: its length makes no message late."""
        due_ms = self.state.due_at_ms()
        if due_ms is None:
            return math.inf
        return max(0.0, (due_ms - self.clock()) / 1000)

    def next_at(self) -> float:
        """Return when the actor must act at the latest. The clock of the wall may be set, so it is looked at often."""
        left_s = self.queue_due_s()
        left_s = min(left_s, CLOCK_S) if left_s < math.inf else math.inf
        return min(trio.current_time() + left_s, self.own_at())

    def own_at(self) -> float:
        """Return when a turn, the hub or the actor itself has waited for long enough."""
        state, config, turn = self.state, self.config, self.state.turn
        if turn is not None and turn.stopping_by is None:
            # A hub that takes no link and cannot have the prompt is not waited for.
            waits = turn.may_move and not turn.consumed and not self.owner.is_linked
            return self.idle_since + config.link_patience_s if waits else math.inf
        if turn is not None:
            return self.stop_at
        if state.background or state.joined:
            return math.inf
        if state.hub_id is not None:
            idle_s = min(config.hub_idle_s, config.warm_idle_s) if state.is_warmed else config.hub_idle_s
            return self.idle_since + idle_s
        if state.undo is not None or state.planning is not None or state.where is not None:
            return math.inf
        if self.tail.is_watched or not self.owner.is_idle or state.next_waiting() or self.effects.has_note:
            return math.inf
        return self.idle_since + config.actor_idle_s

    def _note_stop(self) -> None:
        turn = self.state.turn
        if turn is None or turn.stopping_by is None:
            self.stop_at = math.inf
        elif self.stop_at == math.inf:
            self.stop_at = trio.current_time() + self.config.interrupt_limit_s
