"""What a session does with what happens in a terminal that shares its agent's program. Pure.

The hub reports it as it happens. The agent's own record has it too, so the turns that the hub reported are remembered
and left out when that record is read (`SessionState.live`). A turn that was read there first is not taken from the hub.
"""

from __future__ import annotations

from actors.events.conversation import Delivery, Notice, TurnStarted, UserMessage
from actors.events.permissions import PermissionResolved
from actors.events.session import SessionUpdated
from actors.session.steps.desk_steps import MAX_MESSAGE, MAX_TITLE, TERMINAL_FIRST, end_at_desk, note_live
from actors.session.steps.step import Step
from bridgehub.desk.records import DESK
from bridgehub.protocol import events as hub
from bridgehub.protocol.limits import MAX_ID_CHARS

__all__ = ["live_turn_began", "take_live", "take_of_session"]


def live_turn_began(step: Step, event: hub.TurnBegan) -> None:
    """Take a turn that a terminal began. If a message's turn runs, what it does belongs to that one."""
    state = step.state
    turn_id = event.turn_id
    is_known = turn_id in state.live or (state.turn is not None and state.turn.turn_id == turn_id)
    if is_known or not turn_id or len(turn_id) > MAX_ID_CHARS:
        return
    if state.is_at_desk:
        end_at_desk(step, was_interrupted=True)
    note_live(state, turn_id)
    if state.turn is not None:
        if state.turn.message_id is not None:
            state.turn.own_turn_id = turn_id
            if event.said is not None:
                _said(step, turn_id, event.said)
        return
    if event.said is None:
        step.emit(TurnStarted(None, DESK), turn_id=turn_id, device_id=DESK)
    else:
        step.emit(UserMessage(turn_id, event.said[:MAX_MESSAGE]), turn_id=turn_id, device_id=DESK)
        step.emit(TurnStarted(turn_id, DESK), turn_id=turn_id, device_id=DESK)
    _mark_live(step)
    if event.said is not None:
        step.emit_in_turn(Delivery(turn_id, "handed"))
        step.emit_in_turn(Delivery(turn_id, "consumed"))


def take_live(step: Step, event: hub.HubEvent) -> bool:
    """Take a terminal's words and answers in a running turn. Return whether it was that."""
    turn = step.state.turn
    assert turn is not None
    match event:
        case hub.PersonSaid():
            note_live(step.state, event.of_turn)
            if event.message_id not in turn.steered:
                _said(step, event.message_id, event.content)
        case hub.PermissionSettled():
            if event.request_id in turn.requests:
                step.emit_in_turn(PermissionResolved(event.request_id, "cancelled", DESK), device_id=DESK)
            elif (known := turn.decided.get(event.request_id)) is not None and known.by_device != DESK:
                step.emit_in_turn(Notice("answered_at_desk", TERMINAL_FIRST), device_id=DESK)
        case _:
            return False
    return True


def take_of_session(step: Step, event: hub.HubEvent) -> bool:
    """Take what belongs to no turn. Return whether it was that."""
    state = step.state
    match event:
        case hub.Joined():
            state.joined, state.control_dirty = event.is_joined, True
        case hub.Titled():
            title = event.title[:MAX_TITLE]
            if title and title != state.title:
                step.emit(SessionUpdated(title=title), device_id=DESK)
        case _:
            return False
    return True


def _mark_live(step: Step) -> None:
    assert step.state.turn is not None
    step.state.turn.is_live = True


def _said(step: Step, message_id: str, content: str) -> None:
    step.emit_in_turn(UserMessage(message_id, content[:MAX_MESSAGE]), device_id=DESK)
    step.emit_in_turn(Delivery(message_id, "handed"))
    step.emit_in_turn(Delivery(message_id, "consumed"))
