"""What a session does with what happened to its conversation elsewhere: in a terminal of the person's. Pure.

What others said becomes turns of the cause `desk`, with their own times. A turn of the desk has no hub: it is open as
long as the terminal works on it.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import orjson

from actors.commands import AskAtDesk, Author
from actors.events.conversation import (
    BranchLeft,
    Complete,
    Delivery,
    Interrupted,
    Message,
    Notice,
    Thinking,
    TurnError,
    TurnStarted,
    UserMessage,
)
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.pieces import split_text
from actors.events.session import Ending, SessionUpdated
from actors.events.work import ToolFinished, ToolStarted
from actors.replies import RejectCode
from actors.session.effects import EndElsewhere, NoteChange, NoteInAudit, StopHub
from actors.session.inputs import DeskSeen, FoundElsewhere
from actors.session.state import SessionState
from actors.session.steps.settings_steps import chosen_at_desk
from actors.session.steps.step import Step
from bridgehub.desk.records import DESK, Began, DeskEvent, Ended, Said, ToolCalled, ToolReturned, Where
from bridgehub.protocol.limits import is_flat

__all__ = [
    "MAX_MESSAGE",
    "MAX_TITLE",
    "TERMINAL_FIRST",
    "ask_at_desk",
    "desk_seen",
    "end_at_desk",
    "found_elsewhere",
    "native_id_of",
    "take_over",
    "tell_desk_event",
    "turn_id_of",
    "withdraw_at_desk",
]

LIVE_KEPT: Final = 200
"""Turns of terminals of which it is known that they are in the journal."""

MAX_MESSAGE: Final = 64 * 1024
MAX_TOOL: Final = 64 * 1024
"""Characters of a person's message, and of a tool's input or output; the rest is left out."""

MAX_TURN: Final = 4 * 1024 * 1024
"""Characters of one answer."""

MAX_LEFT: Final = 500

MAX_TITLE: Final = 200

TERMINAL_FIRST: Final = "The terminal answered first, and its answer counted."

LIVE_LATE: Final = 4
"""Newest turns of the hub that the agent's record may not have whole yet."""

MAX_REQUESTS: Final = 64
"""Questions of a terminal that are open at once; one more stays there."""


def turn_id_of(key: str) -> str:
    """Return the id of the desk's turn, and of its message, that the program's record calls `key`."""
    return f"{DESK}-{key}"[:128]


def native_id_of(turn_id: str) -> str:
    """Return what the program's record calls a turn of the desk. See `turn_id_of`."""
    return turn_id.removeprefix(f"{DESK}-")


def desk_seen(step: Step, given: DeskSeen) -> None:
    """Take a look's news; what was added while a turn of ours runs waits for its end."""
    state, look = step.state, given.look
    is_ours = state.turn is not None and not state.is_at_desk
    if given.after == state.desk and not is_ours:
        for event in look.events:
            tell_desk_event(step, event)
        if given.left:
            step.emit(BranchLeft(given.left[:MAX_LEFT]), device_id=DESK)
        if look.title and look.title != state.title:
            step.emit(SessionUpdated(title=look.title[:MAX_TITLE]), device_id=DESK)
        if look.settings:
            chosen_at_desk(step, look.settings)
        state.unsure |= bool(look.events)
        if look.mark != state.desk:
            state.desk, state.control_dirty = look.mark, True
            for turn_id in [*state.live][:-LIVE_LATE]:
                del state.live[turn_id]  # the record was read beyond it
    if is_ours and look.where is not None and not state.unsure:
        state.unsure, state.control_dirty = True, True
    _note_where(step, look.where)
    if state.where is not None and state.turn is None and state.hub_id is not None:
        step.release_hub(StopHub)  # two programs on one conversation lose each other's words
    if state.where is None:
        step.start_next()


def found_elsewhere(step: Step, given: FoundElsewhere) -> None:
    """End a turn whose message cannot be handed over."""
    turn = step.state.turn
    _note_where(step, given.where)
    if turn is not None and turn.turn_id == given.turn_id and not turn.consumed:
        content = "The session was opened in a terminal. Close it there or take over, then send again."
        step.end_turn("failed", TurnError("open_elsewhere", content, retryable=True))
        if step.state.hub_id is not None:
            step.release_hub(StopHub)


def take_over(step: Step, author: Author, *, force: bool) -> tuple[RejectCode, str] | None:
    """End the program that has the session open; return why not."""
    where = step.state.where
    if where is None:
        step.do(NoteChange())
        return None
    if where.pid is None:
        return "busy", "It is not known which program has the session open. Close it there."
    if where.status != "idle" and not force:
        return "busy", "The program in the terminal is at work. Ending it cuts that off."
    step.emit(SessionUpdated(where=Ending(where, author.device_id)), device_id=author.device_id)
    step.do(NoteInAudit("taken_over", author.key_id, where.program))
    step.do(EndElsewhere(where))
    return None


def ask_at_desk(step: Step, ask: AskAtDesk) -> tuple[RejectCode, str] | None:
    """Open a terminal's request; return why not."""
    turn = step.state.turn
    if turn is None or not step.state.is_at_desk or len(turn.requests) >= MAX_REQUESTS:
        return "unknown_request", "the turn that asks is not journalled"
    options = ("allow", "deny")
    asked = PermissionRequested(ask.request_id, ask.tool, ask.input, options, ask.questions)
    asked = attrs.evolve(asked, about=ask.about, title=ask.title, diff=ask.diff)
    step.emit_in_turn(asked, device_id=DESK)
    return None


def withdraw_at_desk(step: Step, request_id: str) -> None:
    """Close a request that the terminal itself has answered, or that it asks no more."""
    turn = step.state.turn
    if turn is not None and step.state.is_at_desk and request_id in turn.requests:
        step.emit_in_turn(PermissionResolved(request_id, "cancelled", DESK), device_id=DESK)


def _note_where(step: Step, where: Where | None) -> None:
    if where != step.state.where:
        step.state.where, step.state.control_dirty = where, True
        step.do(NoteChange())


def tell_desk_event(step: Step, event: DeskEvent) -> None:
    """Journal something that happened at the desk, with its own time."""
    now_ms, step.now_ms = step.now_ms, event.at_ms or step.now_ms
    try:
        match event:
            case Began():
                _begin(step, event)
            case Said() if step.state.is_at_desk:
                _said(step, event)
            case ToolCalled() if step.state.is_at_desk:
                _called(step, event)
            case ToolReturned() if step.state.is_at_desk:
                _returned(step, event)
            case Ended() if step.state.is_at_desk:
                end_at_desk(step, was_interrupted=event.was_interrupted)
            case _:
                pass
    finally:
        step.now_ms = now_ms


def _begin(step: Step, event: Began) -> None:
    if step.state.is_at_desk:
        end_at_desk(step, was_interrupted=True)
    if step.state.turn is not None:
        return
    turn_id = turn_id_of(event.key)
    if event.text is None:
        step.emit(TurnStarted(None, DESK), turn_id=turn_id, device_id=DESK)
        return
    step.emit(UserMessage(turn_id, event.text[:MAX_MESSAGE]), turn_id=turn_id, device_id=DESK)
    step.emit(TurnStarted(turn_id, DESK), turn_id=turn_id, device_id=DESK)
    step.emit_in_turn(Delivery(turn_id, "handed"))
    step.emit_in_turn(Delivery(turn_id, "consumed"))


def _said(step: Step, event: Said) -> None:
    turn = step.state.turn
    assert turn is not None
    kind = Thinking if event.is_thinking else Message
    for part in split_text(event.text[: max(0, MAX_TURN - turn.answer.held)]):
        step.emit_in_turn(kind(part, event.block, turn.answer.offset(kind.kind, event.block)))


def _called(step: Step, event: ToolCalled) -> None:
    turn = step.state.turn
    assert turn is not None
    if event.tool_id not in turn.tools:
        step.emit_in_turn(ToolStarted(event.tool_id, event.name, _input(event.input)))


def _returned(step: Step, event: ToolReturned) -> None:
    turn = step.state.turn
    assert turn is not None
    name = turn.tools.get(event.tool_id)
    if name is not None:
        diff = event.diff if is_flat(event.diff) and len(orjson.dumps(event.diff)) <= MAX_TOOL else None
        output = event.output[:MAX_TOOL]
        step.emit_in_turn(ToolFinished(event.tool_id, name, output, event.is_error, diff=diff))
        if turn.denied.pop(name, None) is not None and not event.is_error:
            step.emit_in_turn(Notice("answered_at_desk", TERMINAL_FIRST), device_id=DESK)


def end_at_desk(step: Step, *, was_interrupted: bool) -> None:
    """End the turn of a terminal that is known from the agent's record."""
    turn = step.state.turn
    assert turn is not None
    if was_interrupted:
        step.end_turn("interrupted", Interrupted(DESK), device_id=DESK)
        return
    answer = turn.answer
    end = Complete(step.state.message_count, answer.length, answer.sha256())
    note_live(step.state, turn.turn_id)  # a hub that shares the terminal's program may report it too
    step.end_turn("answered", end, device_id=DESK)


def note_live(state: SessionState, turn_id: str) -> None:
    """Note that a terminal's turn is in the journal, so that it is not taken once more from the record or the hub."""
    state.live[turn_id] = None
    state.control_dirty = True
    while len(state.live) > LIVE_KEPT:
        del state.live[next(iter(state.live))]


def _input(value: Any) -> Any:
    """Return a tool's input, or the beginning of its text if it is too long or too deep."""
    if not is_flat(value):
        return {}
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return {}
    return value if len(text) <= MAX_TOOL else text[:MAX_TOOL].decode(errors="replace")
