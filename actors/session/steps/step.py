"""The building blocks of a step: emit events, request effects, start the next turn. Pure.

`Step` takes one input after another and collects the events and effects of a batch. An event is applied to the state
in the moment that it is decided, so that the next decision sees it; the actor commits the batch's events before it
runs any of the batch's effects, and throws the state away if it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Delivery, DeliveryState, Interrupted, TurnError, TurnStarted
from actors.events.permissions import PermissionResolved
from actors.events.session import Held, SessionUpdated, Settings
from actors.events.work import TaskFinished, ToolFinished
from actors.session.apply import apply
from actors.session.effects import Effect, HandOver, KillHub, SendToHub, StartHub, StopHub
from actors.session.state import SessionState, Turn, WaitingMessage
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import Configure, Decided
from storage.records import Fold

__all__ = ["HUB_ID_LENGTH", "Step", "decided", "hand_over", "setup_of"]

HOLDING = frozenset({"usage_limit", "context_full", "conversation_refused", "open_elsewhere"})
"""Ends of a turn after which the messages that wait are kept back."""

HUB_ID_LENGTH = 12
"""Characters of a hub's id: it is part of a socket's path, which must be short."""


@attrs.define(eq=False)
class Step:
    """One batch of decisions over one state.

    Attributes:
        now_ms: the wall time that the batch's events carry.
        new_id: makes turn and hub ids.
        events: what was decided so far, already applied to `state`.
        effects: what to do once they are committed.
        folds: what to fold in the same append, for turns that end.
        starts: seqs at which a row must begin, so that a later fold finds its borders.
    """

    state: SessionState
    now_ms: int
    new_id: Callable[[], str]
    events: list[Committed] = attrs.field(factory=list)
    effects: list[Effect] = attrs.field(factory=list)
    folds: list[Fold] = attrs.field(factory=list)
    starts: set[int] = attrs.field(factory=set)

    def emit(
        self, event: Event, *, turn_id: str | None = None, device_id: str | None = None, span: int = 1
    ) -> Committed:
        """Decide an event: it takes the next `span` seqs."""
        first = self.state.head_seq + 1
        item = Committed(first + span - 1, first, self.now_ms, turn_id, device_id, event)
        if apply(self.state, item):
            self.starts.add(first)
        self.events.append(item)
        return item

    def emit_in_turn(self, event: Event, *, device_id: str | None = None, span: int = 1) -> None:
        """Decide an event of the running turn."""
        assert self.state.turn is not None
        self.emit(event, turn_id=self.state.turn.turn_id, device_id=device_id, span=span)

    def do(self, effect: Effect) -> None:
        """Decide an effect."""
        self.effects.append(effect)

    def end_turn(
        self, delivery: DeliveryState, end: Event, *, device_id: str | None = None, hub_said: bool = False
    ) -> None:
        """Close what is open, end the turn and start the next one that waits.

        `hub_said`: the end is the hub's own word, so that what it did not say before never happened.
        """
        turn = self.state.turn
        assert turn is not None
        self.cancel_requests(None)
        if not hub_said:
            self._keep_printed(turn)
        for task in tuple(turn.tasks.values()):
            self.emit_in_turn(
                TaskFinished(
                    task.task_id, task.title, task.agent_type, "cancelled", None, task.parent_task_id
                )
            )
        self._end_steered(turn, delivery, hub_said=hub_said)
        if turn.message_id is not None:
            self.emit_in_turn(Delivery(turn.message_id, delivery))
        self.folds += turn.answer.folds()
        self.emit_in_turn(end, device_id=device_id)
        self.take_back_lent_rights()
        self.hold_or_release(end)
        self.start_next()

    def _keep_printed(self, turn: Turn) -> None:
        """Journal what the running tools printed, which nobody else knows now that their hub is gone."""
        for one in tuple(turn.printed.values()):
            left_out = f"[{one.offset} characters before this are lost]\n" if one.offset else ""
            self.emit_in_turn(ToolFinished(one.tool_id, one.name, left_out + one.output, is_error=True))

    def _end_steered(self, turn: Turn, delivery: DeliveryState, *, hub_said: bool) -> None:
        """Let steered messages share the turn's outcome; of the others only a hub's own end shows that the agent
        never took them, so that they may wait for a turn of their own."""
        for message_id in tuple(turn.steered):
            if message_id in turn.steered_taken:
                self.emit_in_turn(Delivery(message_id, delivery))
            elif hub_said:
                self.queue_steered(message_id)
            else:
                self.emit_in_turn(Delivery(message_id, "unknown"))

    def queue_steered(self, message_id: str) -> None:
        """Have a message that was to be steered wait for a turn of its own."""
        assert self.state.turn is not None
        waiting = self.state.turn.steered[message_id]
        self.emit(Delivery(message_id, "queued"), turn_id=self.new_id(), device_id=waiting.device_id)

    def hold_or_release(self, end: Event) -> None:
        """Keep the queue back after an end that the next message would only repeat; let it go after a good one."""
        if isinstance(end, TurnError) and end.code in HOLDING:
            self.emit(SessionUpdated(held=Held(end.code, end.resets_at_ms)))
        elif isinstance(end, Complete) and self.state.held is not None:
            self.emit(SessionUpdated(held=Held("")))

    def stop_turn(self, *, hub_said: bool = False) -> None:
        """End the turn as interrupted, with the device that asked for it."""
        assert self.state.turn is not None
        by = self.state.turn.stopping_by
        self.cancel_background(of_turn=self.state.turn.turn_id)
        self.end_turn("interrupted", Interrupted(by), device_id=by, hub_said=hub_said)

    def cancel_requests(self, by_device: str | None) -> None:
        """Close each open request without an answer."""
        turn = self.state.turn
        assert turn is not None
        for request_id in tuple(turn.requests):
            self.emit_in_turn(PermissionResolved(request_id, "cancelled", by_device), device_id=by_device)

    def cancel_background(self, *, of_turn: str | None = None) -> None:
        """Close the tasks in the background, all of them or those that one turn started: they end, or have ended."""
        turn_id = None if self.state.turn is None else self.state.turn.turn_id
        for one in tuple(self.state.background.values()):
            if of_turn is None or one.turn_id == of_turn:
                task = one.started
                ended = TaskFinished(
                    task.task_id,
                    task.title,
                    task.agent_type,
                    "cancelled",
                    None,
                    task.parent_task_id,
                    background=True,
                )
                self.emit(ended, turn_id=turn_id)

    @property
    def is_undoing(self) -> bool:
        """Whether messages wait because an undo is planned or carried out."""
        return self.state.undo is not None or self.state.planning is not None

    def start_next(self) -> None:
        """Start the turn of the first message that waits, if one does and the session works."""
        waiting = self.state.next_waiting()
        if waiting is not None and self.state.turn is None and not self.state.failed and not self.is_undoing:
            self.start_turn(waiting)

    def start_turn(self, waiting: WaitingMessage, *, device_id: str | None = None) -> None:
        """Start a turn and hand its message over, to a new hub if none is there."""
        state = self.state
        turn_id = waiting.turn_id
        self.emit(TurnStarted(waiting.message_id), turn_id=turn_id, device_id=device_id)
        self.emit_in_turn(Delivery(waiting.message_id, "handed"))
        assert state.turn is not None
        state.is_warmed = False
        if state.hub_is_old:
            self.release_hub(StopHub)  # it would not take the session's settings
        if state.hub_id is None:
            self.start_hub()
        else:
            state.turn.may_move = True
            self.do(hand_over(state, state.turn))

    def start_hub(self) -> None:
        """Start a hub; once it is ready the running turn's message is handed over."""
        state = self.state
        state.hub_id, state.hub_seq, state.hub_is_old = self.new_id()[:HUB_ID_LENGTH], 0, False
        state.is_warmed = False
        self.do(StartHub(state.hub_id))

    def release_hub(self, ending: type[StopHub | KillHub]) -> None:
        """Forget the hub, then end it: what is sent from now on goes to a new one."""
        state = self.state
        if state.hub_id is not None:
            self.cancel_background()
            self.do(ending(state.hub_id))
            state.leaving[state.hub_id] = None
            state.control_dirty = True
            state.hub_id, state.hub_seq, state.hub_is_old, state.joined = None, 0, False, False

    def set_settings(self, settings: Settings, *, device_id: str | None, applies: str = "now") -> None:
        """Decide new settings; without an author they are the agent's own doing."""
        told: Literal["now", "next_turn"] = "now" if applies == "now" else "next_turn"
        self.emit(SessionUpdated(settings=settings, applies=told), device_id=device_id)

    def tell_setup(self) -> None:
        """Have the hub know the session's settings and grants as they are now."""
        if self.state.hub_id is not None and not self.state.hub_is_old:
            self.do(SendToHub(Configure(setup_of(self.state))))

    def take_back_lent_rights(self) -> None:
        """End what the agent was let do in a turn beyond what the person chose."""
        state = self.state
        if state.is_beyond(state.settings.permission_mode):
            settings = attrs.evolve(state.settings, permission_mode=state.person_mode)
            self.set_settings(settings, device_id=None)
            self.tell_setup()


def setup_of(state: SessionState) -> Setup:
    """Return the session's settings in the hub's words."""
    settings = state.settings
    return Setup(
        settings.model, settings.permission_mode, settings.effort, tuple(state.grants), state.title or None
    )


def hand_over(state: SessionState, turn: Turn) -> HandOver:
    """Return the effect that gives the running turn's message to the hub."""
    assert turn.message_id is not None, "the agent's own turn has nothing to hand over"
    return HandOver(turn.turn_id, turn.message_id, turn.message_seq, state.taken)


def decided(resolved: PermissionResolved) -> Decided:
    """Return a person's answer in the hub's words."""
    return Decided(
        resolved.request_id,
        resolved.decision,
        resolved.note,
        resolved.answers,
        resolved.input,
        resolved.mode,
        resolved.option,
    )
