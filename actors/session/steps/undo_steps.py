"""What a session does about an undo: the rows of the table in `docs/internals/architecture.md`. Pure.

An undo is planned first: that changes nothing, and no event shows it. Planned, it is an event, and from there on it
is carried out, once more after a crash. Messages wait until its second event.
"""

from __future__ import annotations

from actors.commands import Envelope, Undo
from actors.events.conversation import Notice
from actors.events.session import Undone, UndoStarted
from actors.replies import RejectCode, Rejected
from actors.session.effects import AnswerCommand, CarryOutUndo, PlanUndo
from actors.session.inputs import UndoCarried, UndoPlanned
from actors.session.state import RunningUndo
from actors.session.steps.step import Step

__all__ = ["MAX_PATHS", "ask_undo", "undo_carried", "undo_planned"]

MAX_PATHS = 500
"""Paths of each kind that an event names (PROTOCOL section 14)."""


def ask_undo(step: Step, envelope: Envelope, undo: Undo) -> None:
    """Have an undo planned, if nothing of this session is in its way."""
    state = step.state
    if state.turn is not None or state.failed or step.is_undoing:
        what = "a turn runs" if state.turn is not None else "the session is busy"
        _reject(step, envelope, "busy", f"{what}; undo once it has ended")
        return
    if state.background and not undo.force:
        _reject(step, envelope, "busy", "something runs in the background; stop it, or undo by force")
        return
    if state.where is not None and state.where.status != "idle" and not undo.force:
        _reject(step, envelope, "busy", f"{state.where.program} works in a terminal; wait, or undo by force")
        return
    wanted = RunningUndo(step.new_id(), undo.turn_id, undo.undo_id, envelope.author.device_id)
    state.planning = (wanted, envelope)
    step.do(PlanUndo(wanted.undo_id, undo.turn_id, undo.undo_id, undo.force))


def undo_planned(step: Step, given: UndoPlanned) -> None:
    """Begin what was planned, or tell why it cannot be."""
    planning = step.state.planning
    if planning is None or planning[0].undo_id != given.undo_id:
        return
    step.state.planning = None
    wanted, envelope = planning
    if given.refusal is not None:
        step.do(AnswerCommand(envelope.reply, given.refusal))
        step.start_next()
        return
    event = UndoStarted(wanted.undo_id, wanted.turn_id, wanted.by_device, given.checkpoint_id, wanted.of_undo)
    step.emit(event, device_id=wanted.by_device)
    step.do(CarryOutUndo(wanted.undo_id))


def undo_carried(step: Step, given: UndoCarried) -> None:
    """Record what was undone, and let the messages run that waited."""
    undo = step.state.undo
    if undo is None or undo.undo_id != given.undo_id:
        return
    if given.failure:
        step.emit(Notice("undo_failed", f"The undo did not come to its end: {given.failure}"))
    event = Undone(given.undo_id, given.files[:MAX_PATHS], given.conflicts[:MAX_PATHS])
    step.emit(event, device_id=undo.by_device)
    step.start_next()


def _reject(step: Step, envelope: Envelope, code: RejectCode, content: str) -> None:
    step.do(AnswerCommand(envelope.reply, Rejected(code, content)))
