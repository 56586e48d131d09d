"""How each event changes the state of a session. Pure.

`apply` is the only function that changes what events change. It runs live, when a step decides an event, and in tests
against what a reload gives.
"""

from __future__ import annotations

from typing import Any

from actors.events.committed import Committed
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
from actors.events.session import Checkpoint, SessionUpdated, Settings, Undone, UndoStarted
from actors.events.work import PlanUpdated, TaskFinished, TaskProgress, TaskStarted, ToolFinished, ToolStarted
from actors.session.state import (
    PREVIEW_LENGTH,
    BackgroundTask,
    RunningUndo,
    SessionState,
    Turn,
    WaitingMessage,
)
from bridgehub.desk.records import DESK
from bridgehub.protocol.requests import declined_by

__all__ = ["apply"]

RESOLVED_KEPT = 100
"""Resolved requests: a late `decide` gets the name of who was first."""

DECLINED_KEPT = 200
"""Folders whose settings this session does without; the oldest is asked about again."""

LEFT_KEPT = 500
"""Turns that were left behind; older ones look like the others again."""

GRANTS_KEPT = 200
"""Rights for the whole session; the oldest is asked for again."""

DECIDED_KEPT = 64
"""Answers of the running turn that are kept for a hub that missed them; it waits for the newest only."""

UNKNOWN_KEPT = 500
"""Messages whose fate a person may decide; the oldest stays `unknown` in the journal, and nothing can be done for it."""

TOLD_UNDONE = 20
"""Paths that the agent learns were undone."""

AUTHORS_KEPT = 64
"""Devices, and pairs of who and in whose turn, of which `if_head` knows the last event.

Older ones count as somebody else."""

_NOTICES_OF_MACHINE = frozenset({"no_checkpoint", "background_full"})


def apply(state: SessionState, item: Committed) -> bool:
    """Change `state` by an event that is, or is about to be, in the journal.

    Returns:
        Whether the event begins a run of pieces, over whose start no row of the journal may reach.
    """
    state.head_seq = item.seq
    event = item.event
    if isinstance(event, Message | Thinking):
        return state.turn is not None and state.turn.answer.add(item)
    state.control_dirty = True
    if isinstance(event, Checkpoint):
        is_same = state.unsaved is not None and state.unsaved[0] == event.of_turn
        if event.position == "before":
            state.unsaved = (event.of_turn, event.checkpoint_id)
        elif is_same:
            state.unsaved = None
        return False
    if isinstance(event, TurnStarted):
        _apply_start(state, event, item)
        _note_author(state, item)
        return False
    if isinstance(event, TaskStarted | TaskProgress | TaskFinished) and event.background:
        _apply_to_background(state, event, item)
        return False
    _note_author(state, item)
    match event:
        case UserMessage():
            state.message_count += 1
            waiting = WaitingMessage(event.message_id, item.turn_id or "", item.device_id or "", item.seq)
            waiting.not_before_ms = event.not_before_ms
            waiting.preview = event.content[:PREVIEW_LENGTH]
            state.arriving[event.message_id] = waiting
        case Delivery():
            _apply_delivery(state, event, item)
        case PlanUpdated():
            state.plan = event.entries
        case BranchLeft(turn_ids):
            state.left.update(dict.fromkeys(turn_ids))
            _drop_oldest(state.left, LEFT_KEPT)
        case Complete() | TurnError() | Interrupted():
            state.turn = None
        case UndoStarted():
            state.undo = RunningUndo(event.undo_id, event.turn_id, event.of_undo, event.by_device)
        case Undone():
            state.undo = None
            _note_undone(state, event)
        case Notice(code="background_full"):
            state.background_full = True
        case SessionUpdated():
            state.title = state.title if event.title is None else event.title
            state.failed = state.failed if event.failed is None else event.failed
            if event.settings is not None:
                _apply_settings(state, event.settings, item.device_id)
            if event.held is not None:
                state.held = event.held if event.held.code else None
            if event.grants is not None:
                state.grants = {one.grant: one.by_device for one in event.grants}
                state.grants_at = {one.grant: one.at_ms for one in event.grants if one.at_ms is not None}
        case _:
            _apply_to_turn(state, event, item.at_ms)
    return False


def _apply_delivery(state: SessionState, event: Delivery, item: Committed) -> None:
    message_id = event.message_id
    match event.state:
        case "queued":
            waiting = _take(state, message_id)
            if waiting is not None:
                waiting.turn_id = item.turn_id or waiting.turn_id
                waiting.device_id = item.device_id or waiting.device_id
                state.queue[message_id] = waiting
        case "cancelled":
            state.queue.pop(message_id, None)
            state.unknown.pop(message_id, None)
        case "handed" if state.turn is not None and message_id != state.turn.message_id:
            steered = _take(state, message_id)
            if steered is not None:
                state.turn.steered[message_id] = steered
        case "consumed" if state.turn is not None:
            state.taken += 1
            if message_id == state.turn.message_id:
                state.turn.consumed = True
                if not state.turn.preview.startswith("/"):  # a command took no word of it along
                    state.undone, state.undone_more = [], 0
                    state.unsure &= state.is_at_desk
            else:
                state.turn.steered_taken[message_id] = None
        case "unknown" if state.turn is not None:
            turn = state.turn
            lost = turn.steered.pop(message_id, None)
            if lost is None:
                lost = WaitingMessage(message_id, turn.turn_id, turn.device_id, turn.message_seq)
                lost.preview = turn.preview
            state.unknown[message_id] = lost
            _drop_oldest(state.unknown, UNKNOWN_KEPT)
        case _:
            pass


def _apply_to_background(
    state: SessionState, event: TaskStarted | TaskProgress | TaskFinished, item: Committed
) -> None:
    match event:
        case TaskStarted():
            state.background[event.task_id] = BackgroundTask(event, item.turn_id)
        case TaskFinished():
            state.background.pop(event.task_id, None)
            state.background_full &= bool(state.background)


def _apply_start(state: SessionState, event: TurnStarted, item: Committed) -> None:
    waiting = None if event.message_id is None else _take(state, event.message_id)
    state.message_count += 1
    state.turn = Turn(
        turn_id=item.turn_id or "",
        message_id=event.message_id,
        device_id=item.device_id or (waiting.device_id if waiting else ""),
        message_seq=waiting.seq if waiting else 0,
        started_seq=item.seq,
        consumed=event.message_id is None,
        cause=event.cause,
    )
    state.turn.preview = waiting.preview if waiting else ""


def _apply_settings(state: SessionState, settings: Settings, by_device: str | None) -> None:
    is_new = settings.permission_mode != state.settings.permission_mode
    state.settings = settings
    if by_device == DESK:
        pass  # what was chosen on a device counts again once the terminal leaves its mode
    elif by_device is not None:
        state.person_mode, state.mode_by = settings.permission_mode, by_device
    elif is_new and not state.is_beyond(settings.permission_mode):
        state.person_mode = settings.permission_mode


def _apply_to_turn(state: SessionState, event: object, at_ms: int) -> None:
    turn = state.turn
    if turn is None:
        return
    match event:
        case PermissionRequested():
            turn.requests[event.request_id] = event
        case PermissionResolved():
            request = turn.requests.pop(event.request_id, None)
            turn.encoded.pop(event.request_id, None)
            if event.decision == "allow_session" and request is not None and request.grant is not None:
                state.grants[request.grant], state.grants_at[request.grant] = event.by_device, at_ms
                _drop_oldest(state.grants, GRANTS_KEPT)
                _drop_oldest(state.grants_at, GRANTS_KEPT)
            if event.decision == "deny" and request is not None and request.about == "trust":
                declined = declined_by(request.input, request.options)
                if declined is not None:
                    state.declined[declined] = None
                    _drop_oldest(state.declined, DECLINED_KEPT)
            if request is not None and request.about == "plan" and event.decision != "deny":
                # A person who approves a plan wants it carried out: the agent leaves its mode for planning.
                state.person_mode = None if event.decision != "cancelled" else state.person_mode
            if turn.cause == DESK and request is not None and event.decision == "deny":
                turn.denied[request.tool] = event.by_device or ""
            turn.decided[event.request_id] = event
            _drop_oldest(turn.decided, DECIDED_KEPT)
            state.resolved[event.request_id] = event.by_device
            _drop_oldest(state.resolved, RESOLVED_KEPT)
        case TaskStarted():
            turn.tasks[event.task_id] = event
        case TaskFinished():
            turn.tasks.pop(event.task_id, None)
        case ToolStarted() if turn.cause == DESK:
            turn.tools[event.tool_id] = event.name
        case ToolFinished():
            turn.tools.pop(event.tool_id, None)
            turn.printed.pop(event.tool_id, None)
        case _:
            pass  # tools, progress and notices change nothing that a reload must know


def _note_undone(state: SessionState, event: Undone) -> None:
    known = dict.fromkeys([*state.undone, *event.files])
    state.undone = list(known)[:TOLD_UNDONE]
    state.undone_more += len(known) - len(state.undone)


def _take(state: SessionState, message_id: str) -> WaitingMessage | None:
    steered = {} if state.turn is None else state.turn.steered
    for place in (state.arriving, state.queue, state.unknown, steered):
        waiting = place.pop(message_id, None)
        if waiting is not None:
            return waiting
    return None


def _drop_oldest(kept: dict[str, Any], limit: int) -> None:
    while len(kept) > limit:
        del kept[next(iter(kept))]


def _note_author(state: SessionState, item: Committed) -> None:
    turn = state.turn
    in_turn = turn is not None and item.turn_id == turn.turn_id
    starter = turn.device_id if turn is not None and in_turn else None
    owners = " ".join(sorted({one for one in (item.device_id, starter) if one}))  # no id has a blank
    if not owners:
        if not _is_of_machine(item.event):  # what only the machine says of itself stales nobody's message
            state.authors_floor = item.seq
        return
    state.authors.pop(owners, None)
    state.authors[owners] = item.seq
    while len(state.authors) > AUTHORS_KEPT:
        oldest = next(iter(state.authors))
        state.authors_floor = max(state.authors_floor, state.authors.pop(oldest))


def _is_of_machine(event: object) -> bool:
    return isinstance(event, SessionUpdated) or (
        isinstance(event, Notice) and event.code in _NOTICES_OF_MACHINE
    )
