"""What a session does with each input; here the news of its hub and of its supervisor. Pure.

This is also where the hub's classes become the journal's: the two version apart, and only this file knows both.
"""

from __future__ import annotations

from typing import cast, get_args

import orjson

from actors.events.conversation import (
    BlockDropped,
    Complete,
    Delivery,
    DeliveryState,
    Message,
    Notice,
    Thinking,
    TurnError,
    Usage,
)
from actors.events.permissions import PermissionRequested, RequestKind
from actors.events.pieces import split_text
from actors.events.session import Checkpoint, LeftOut
from actors.events.work import (
    PlanEntry,
    PlanUpdated,
    TaskFinished,
    TaskProgress,
    TaskStarted,
    ToolFinished,
    ToolStarted,
)
from actors.session.effects import Announce, KillHub, SendHistory, SendToHub
from actors.session.inputs import FromHub
from actors.session.steps.background_steps import own_turn_began, told_in_background, told_of_own_turn
from actors.session.steps.live_steps import take_live, take_of_session
from actors.session.steps.settings_steps import allow_under_mode, gauged, offered, settings_told
from actors.session.steps.step import Step
from actors.tail import ToolOutputs
from bridgehub.desk.records import DESK
from bridgehub.protocol import events as hub
from bridgehub.protocol.limits import MAX_ID_CHARS, clip, is_flat
from bridgehub.protocol.messages import Decided

__all__ = ["MAX_ANSWER_LENGTH", "MAX_ANSWER_RUNS", "MAX_OPEN_REQUESTS", "MAX_OPEN_TASKS", "hub_reported"]

MAX_MEMORY_BYTES = 16 * 1024
"""JSON of what a driver may have remembered; it is written with every change of the session's state."""

MAX_POSITION_BYTES = 1024
"""JSON of a turn's position in the agent's own record; a longer one is left out, and a fork gives the history as text."""

MAX_OPEN_REQUESTS = 64
"""Questions that wait for a person in one turn; each is in the session's snapshot. One more is answered `cancelled`."""

MAX_OPEN_TASKS = 1000
"""Tasks that run in one turn; what is said of one more is left out."""

_SAYS_NOTHING_OF_TAKING = (hub.TurnFailed, hub.TurnStopped, hub.HistoryWanted)
"""News that a driver may have before its agent took the prompt."""

MAX_WAYS = 8

_REQUEST_KINDS = frozenset(get_args(RequestKind))

MAX_ANSWER_LENGTH = 8 * 1024 * 1024
"""Code points of one answer and its thinking; an agent that floods past it is stopped.

Bounds, with `MAX_ANSWER_RUNS`, what a turn may grow in memory."""

MAX_ANSWER_RUNS = 32 * 1024
"""Runs of neighbouring pieces of one block: pieces that alternate between blocks cost a kilobyte each."""


def hub_reported(step: Step, given: FromHub) -> None:
    """Decide what one event of the hub does; an event of another hub, or one that was had before, does nothing."""
    state, reported = step.state, given.reported
    if given.hub_id != state.hub_id or reported.seq <= state.hub_seq:
        return
    if reported.first_seq != state.hub_seq + 1:
        _reject_hub(step, f"after its event {state.hub_seq} came {reported.first_seq}")
        return
    state.hub_seq = reported.seq
    event = clip(reported.event)
    if _reported_of_session(step, event):
        return
    if isinstance(event, hub.TurnBegan):
        own_turn_began(step, event)
        return
    if isinstance(event, hub.Checkpointed):
        step.emit(_checkpoint(event))
        return
    if isinstance(event, hub.Noticed) and event.turn_id is None:
        step.emit(_notice(event))  # the hub's own word: it says nothing of a turn
        return
    turn = state.turn
    is_own = turn is not None and event.turn_id is not None and event.turn_id == turn.own_turn_id
    if turn is not None and is_own:
        belonging = told_of_own_turn(step, turn, event)
        if belonging is None:
            return
        event = belonging
    if turn is None or state.is_at_desk or (event.turn_id is not None and event.turn_id != turn.turn_id):
        return
    if not turn.consumed and not is_own and not _says_nothing_of_taking(event):
        assert turn.message_id is not None, "the agent's own turn is consumed from its start"
        step.emit_in_turn(Delivery(turn.message_id, "consumed"))
    match event:
        case hub.Consumed():
            pass
        case hub.TextPiece():
            _piece(step, event, span=reported.seq - reported.first_seq + 1)
        case hub.BlockDropped():
            _drop(step, event)
        case hub.PermissionAsked():
            _asked(step, event)
        case hub.HistoryWanted() if turn.message_id is not None:
            step.do(SendHistory(turn.turn_id, turn.message_id, turn.started_seq, event.limit_bytes))
        case hub.SteerTaken() | hub.SteerRefused() | hub.SteerLost():
            _steered(step, event)
        case hub.TurnDone() | hub.TurnFailed() | hub.TurnStopped():
            _ended(step, event)
        case _:
            if not take_live(step, event):
                _work(step, event)


def _reported_of_session(step: Step, event: hub.HubEvent) -> bool:
    """Take what belongs to no turn; return whether it was that."""
    match event:
        case hub.AgentMemory():
            _remember(step, event)
        case hub.AgentOffered():
            offered(step, event)
        case hub.Gauged():
            gauged(step, event)
        case hub.SettingsTold():
            settings_told(step, event)
        case _:
            return take_of_session(step, event) or told_in_background(step, event)
    return True


def _reject_hub(step: Step, detail: str) -> None:
    """End a hub whose numbers have a gap or an overlap: something is missing that nothing can bring back."""
    turn = step.state.turn
    step.release_hub(KillHub)
    if turn is not None:
        content = f"the agent's hub broke the protocol and was ended: {detail}"
        delivery: DeliveryState = "failed" if turn.consumed else "unknown"
        step.end_turn(delivery, TurnError("agent_protocol", content, retryable=True))


def _remember(step: Step, event: hub.AgentMemory) -> None:
    """Keep what the driver must know again; it goes into the snapshot, with no event of its own."""
    if is_flat(event.data) and len(orjson.dumps(event.data)) <= MAX_MEMORY_BYTES:
        step.state.agent_memory = event.data
        step.state.control_dirty = True


def _steered(step: Step, event: hub.SteerTaken | hub.SteerRefused | hub.SteerLost) -> None:
    turn = step.state.turn
    assert turn is not None
    if event.message_id not in turn.steered or event.message_id in turn.steered_taken:
        return
    match event:
        case hub.SteerTaken():
            step.emit_in_turn(Delivery(event.message_id, "consumed"))
        case hub.SteerRefused():
            step.queue_steered(event.message_id)
        case hub.SteerLost():
            step.emit_in_turn(Delivery(event.message_id, "unknown"))


def _piece(step: Step, event: hub.TextPiece, *, span: int) -> None:
    turn = step.state.turn
    assert turn is not None
    cls = Message if event.channel == "text" else Thinking
    parts = split_text(event.text)
    for number, part in enumerate(parts):
        offset = turn.answer.offset(cls.kind, event.block)
        step.emit_in_turn(cls(part, event.block, offset), span=span if number == 0 else 1)
    is_long = turn.answer.held > MAX_ANSWER_LENGTH
    if is_long or turn.answer.runs > MAX_ANSWER_RUNS:
        step.release_hub(KillHub)
        bound = f"{MAX_ANSWER_LENGTH} characters" if is_long else f"{MAX_ANSWER_RUNS} separate pieces"
        content = f"the answer grew past {bound} and was stopped"
        step.end_turn("failed", TurnError("agent_protocol", content, retryable=False))


def _drop(step: Step, event: hub.BlockDropped) -> None:
    turn = step.state.turn
    assert turn is not None
    cls = Message if event.channel == "text" else Thinking
    if turn.answer.offset(cls.kind, event.block):
        step.emit_in_turn(cls("", event.block, 0))  # who knows nothing of the event takes it from this
        step.emit_in_turn(BlockDropped(event.block))


def _asked(step: Step, event: hub.PermissionAsked) -> None:
    turn = step.state.turn
    assert turn is not None
    if event.request_id in turn.requests or event.request_id in turn.decided:
        return
    is_one_too_many = len(turn.requests) >= MAX_OPEN_REQUESTS or len(event.request_id) > MAX_ID_CHARS
    if turn.stopping_by is not None or is_one_too_many:
        step.do(SendToHub(Decided(event.request_id, "cancelled")))
        return
    step.emit_in_turn(
        PermissionRequested(
            event.request_id,
            event.tool,
            event.input,
            event.options,
            event.questions,
            event.grant,
            event.task_id,
            _about(event.kind),
            event.title,
            event.modes,
            event.diff,
            event.editable,
            event.denying,
        )
    )
    allow_under_mode(step, event.request_id)  # it was asked before that mode reached the agent


def _about(kind: str) -> RequestKind:
    return cast("RequestKind", kind) if kind in _REQUEST_KINDS else "other"


def _ended(step: Step, event: hub.TurnDone | hub.TurnFailed | hub.TurnStopped) -> None:
    turn = step.state.turn
    assert turn is not None
    match event:
        case hub.TurnDone():
            usage = Usage(event.input_tokens, event.output_tokens, event.cached_input_tokens, event.cost_usd)
            answer = turn.answer
            end = Complete(
                step.state.message_count,
                answer.length,
                answer.sha256(),
                usage if usage != Usage() else None,
                _position(event.position),
            )
            step.end_turn("answered", end, hub_said=True)
        case hub.TurnFailed():
            failure = TurnError(
                event.code, event.content, event.retryable, event.resets_at_ms, event.ways[:MAX_WAYS]
            )
            step.end_turn("failed", failure, hub_said=True)
        case hub.TurnStopped():
            if event.at_desk and turn.stopping_by is None:
                turn.stopping_by = DESK
            step.stop_turn(hub_said=True)


def _position(told: dict[str, str] | None) -> dict[str, str] | None:
    return told if told is not None and len(orjson.dumps(told)) <= MAX_POSITION_BYTES else None


def _work(step: Step, event: hub.HubEvent) -> None:
    turn = step.state.turn
    assert turn is not None
    match event:
        case hub.ToolBegan():
            step.emit_in_turn(
                ToolStarted(event.tool_id, event.name, event.input, event.parent_tool_id, event.blob)
            )
        case hub.ToolEnded():
            step.emit_in_turn(
                ToolFinished(
                    event.tool_id,
                    event.name,
                    event.output,
                    event.is_error,
                    event.parent_tool_id,
                    event.duration_ms,
                    event.blob,
                    event.diff,
                    list(event.pictures) or None,
                )
            )
        case hub.TaskBegan() if len(turn.tasks) < MAX_OPEN_TASKS or event.task_id in turn.tasks:
            step.emit_in_turn(TaskStarted(event.task_id, event.title, event.agent_type, event.parent_task_id))
        case hub.TaskProgressed() if event.task_id in turn.tasks:
            task = turn.tasks[event.task_id]
            step.emit_in_turn(
                TaskProgress(task.task_id, task.title, task.agent_type, event.progress, task.parent_task_id)
            )
        case hub.TaskEnded() if event.task_id in turn.tasks:
            task = turn.tasks[event.task_id]
            step.emit_in_turn(
                TaskFinished(
                    task.task_id,
                    task.title,
                    task.agent_type,
                    event.state,
                    event.result,
                    task.parent_task_id,
                )
            )
        case hub.ToolsPrinted():
            _printed(step, event)
        case hub.PlanChanged():
            step.emit_in_turn(PlanUpdated(tuple(PlanEntry(**one) for one in event.entries)))
        case hub.Noticed():
            step.emit_in_turn(_notice(event))
        case _:
            pass


def _printed(step: Step, event: hub.ToolsPrinted) -> None:
    """Show what running tools have printed. The journal gets it with `tool_finished`."""
    turn = step.state.turn
    assert turn is not None
    printed = {one.tool_id: one for one in event.outputs}
    if printed != turn.printed:
        turn.printed = printed
        step.do(Announce(ToolOutputs(turn.turn_id, event.outputs)))


def _checkpoint(event: hub.Checkpointed) -> Checkpoint:
    left_out = tuple(LeftOut(one.path, one.reason) for one in event.left_out)
    numbers = (event.files, event.added, event.removed)
    return Checkpoint(event.of_turn, event.checkpoint_id, event.position, *numbers, event.late, left_out)


def _notice(event: hub.Noticed) -> Notice:
    return Notice(event.code, event.content, event.attempt, event.retry_in_s)


def _says_nothing_of_taking(event: hub.HubEvent) -> bool:
    if isinstance(event, hub.PermissionAsked):
        return event.kind == "trust" and event.task_id is None
    return isinstance(event, _SAYS_NOTHING_OF_TAKING)
