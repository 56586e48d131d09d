"""What each input of a session does: the one place that names them all. Pure."""

from __future__ import annotations

from actors.events.conversation import TurnError
from actors.events.session import SessionUpdated
from actors.session.effects import CarryOutUndo, StopHub
from actors.session.inputs import (
    DeskSeen,
    FoundElsewhere,
    FromDevice,
    FromHub,
    HubGone,
    HubReady,
    IdleTooLong,
    Input,
    MarkFailed,
    Resume,
    TimeCame,
    UndoCarried,
    UndoPlanned,
)
from actors.session.steps.command_steps import take_command
from actors.session.steps.desk_steps import desk_seen, found_elsewhere
from actors.session.steps.hub_life_steps import hub_gone, hub_ready
from actors.session.steps.hub_steps import hub_reported
from actors.session.steps.later_steps import look_at_clock
from actors.session.steps.step import Step
from actors.session.steps.undo_steps import undo_carried, undo_planned

__all__ = ["decide"]


def decide(step: Step, given: Input) -> None:
    """Decide what one input does."""
    match given:
        case FromDevice():
            take_command(step, given)
        case FromHub():
            hub_reported(step, given)
        case HubReady():
            hub_ready(step, given)
        case HubGone():
            hub_gone(step, given)
        case IdleTooLong():
            if step.state.turn is None:
                step.release_hub(StopHub)
        case TimeCame():
            look_at_clock(step, given.revoked)
        case MarkFailed(detail):
            _mark_failed(step, detail)
        case Resume():
            if step.state.failed:
                step.emit(SessionUpdated(failed=False))
            if step.state.is_at_desk:
                step.cancel_requests(None)  # the connections of terminals ended with the earlier server
            if step.state.undo is not None:
                step.do(CarryOutUndo(step.state.undo.undo_id))
            look_at_clock(step, given.revoked)
        case UndoPlanned():
            undo_planned(step, given)
        case UndoCarried():
            undo_carried(step, given)
        case DeskSeen():
            desk_seen(step, given)
        case FoundElsewhere():
            found_elsewhere(step, given)


def _mark_failed(step: Step, detail: str) -> None:
    turn = step.state.turn
    step.state.failed = True  # before the turn's end, so that nothing that waits starts
    step.state.hub_id, step.state.hub_seq, step.state.joined = None, 0, False
    step.cancel_background()
    if turn is not None:
        content = f"the session failed: {detail}"
        if turn.consumed:
            step.end_turn("failed", TurnError("agent_exited", content, retryable=True))
        else:
            step.end_turn("unknown", TurnError("unknown_outcome", content, retryable=True))
    step.emit(SessionUpdated(failed=True))
