"""What a session does with a device's command: the first half of the table in `docs/internals/architecture.md`. Pure."""

from __future__ import annotations

import attrs

from actors.commands import (
    AskAtDesk,
    Attach,
    Cancel,
    Close,
    Configure,
    Decide,
    Draft,
    Envelope,
    GiveBack,
    Interrupt,
    MarkRead,
    Organize,
    Rename,
    Renew,
    Resolve,
    RevokeGrant,
    Send,
    SendNow,
    StopTask,
    TakeOver,
    Undo,
    Warm,
    WithdrawAtDesk,
)
from actors.events.conversation import Delivery, Notice, UserMessage
from actors.events.session import SessionUpdated
from actors.replies import Accepted, Closed, RejectCode, Rejected, Reply
from actors.session.effects import (
    Announce,
    AnswerCommand,
    KeepNote,
    SendToHub,
    SteerHub,
    StopHub,
)
from actors.session.inputs import FromDevice
from actors.session.snapshot import view
from actors.session.steps.background_steps import stop_task
from actors.session.steps.decision_steps import decide_request
from actors.session.steps.desk_steps import ask_at_desk, take_over, withdraw_at_desk
from actors.session.steps.hub_life_steps import warm_up
from actors.session.steps.later_steps import is_later, refusal_of_time, scheduled, send_now
from actors.session.steps.settings_steps import configure, revoke_grant
from actors.session.steps.step import Step
from actors.session.steps.undo_steps import ask_undo
from actors.tail import DraftChanged, ReadMarkMoved
from bridgehub.protocol.messages import InterruptTurn
from storage.records import CommandRecord

__all__ = ["MAX_QUEUED", "take_command"]

MAX_QUEUED = 100
"""Messages that wait in one session (PROTOCOL section 3, Send)."""

MAX_STEERED = 20
"""Messages that one turn takes besides its own."""


OPEN_ELSEWHERE: tuple[RejectCode, str] = (
    "open_elsewhere",
    "The session is open in a terminal. Close it there or take over, then send again.",
)


def take_command(step: Step, given: FromDevice) -> None:
    """Decide what a device's command does."""
    envelope = given.envelope
    match envelope.command:
        case Attach():
            _answer(step, envelope, view(step.state))
        case Send() as send:
            _send(step, envelope, send, given.known)
        case SendNow(message_id):
            if not send_now(step, message_id, envelope.author.device_id):
                _reject(step, envelope, "not_queued", "this is no message for later that waits", message_id)
        case Cancel() as cancel:
            _cancel(step, envelope, cancel)
        case Interrupt() as interrupt:
            _interrupt(step, envelope, interrupt)
        case StopTask(task_id):
            if task_id in step.state.background:
                stop_task(step, task_id)
            else:
                _reject(step, envelope, "unknown_task", "no such task runs in the background")
        case Decide() as decide:
            rejected = decide_request(step, envelope.author, decide)
            if rejected is not None:
                _answer(step, envelope, rejected)
        case Configure() as change:
            _refuse_if(step, envelope, configure(step, change, envelope.author))
        case RevokeGrant() as revoke:
            _refuse_if(step, envelope, revoke_grant(step, revoke, envelope.author))
        case Renew():
            _renew(step, envelope)
        case AskAtDesk() as ask:
            _refuse_or_close(step, envelope, ask_at_desk(step, ask))
        case WithdrawAtDesk(request_id):
            withdraw_at_desk(step, request_id)
            _answer(step, envelope, Closed(process_killed=False))
        case GiveBack():
            _give_back(step, envelope)
        case TakeOver(force):
            _refuse_if(step, envelope, take_over(step, envelope.author, force=force))
        case Warm(joins):
            warm_up(step, joins=joins)
            if joins:
                _answer(step, envelope, Closed(process_killed=False))
        case Organize(pinned, archived):
            step.state.archived = step.state.archived if archived is None else archived
            step.do(KeepNote(pinned=pinned, archived=archived))
        case Resolve() as resolve:
            _resolve(step, envelope, resolve)
        case Rename(title):
            step.emit(SessionUpdated(title=title), device_id=envelope.author.device_id)
            step.tell_setup()
        case Undo() as undo:
            ask_undo(step, envelope, undo)
        case MarkRead(seq):
            _mark_read(step, envelope, seq)
        case Draft(content):
            step.state.draft = content
            step.do(KeepNote(draft=content))
            step.do(Announce(DraftChanged(content, envelope.author.device_id)))
        case Close():
            _close(step, envelope, watched=given.watched)


def _send(step: Step, envelope: Envelope, send: Send, known: CommandRecord | None) -> None:
    state, author = step.state, envelope.author.device_id
    seq = known.seq if known is not None else _seq_in_batch(step, send.message_id)
    if seq is not None:
        _answer(step, envelope, Accepted(send.message_id, seq, duplicate=True))
        return
    refusal = _refusal_of(step, envelope, send)
    if refusal is not None:
        code, content = refusal
        head = state.head if code == "stale_head" else None
        where = state.where if code == "open_elsewhere" else None
        _answer(step, envelope, Rejected(code, content, message_id=send.message_id, head=head, where=where))
        return
    turn = state.turn
    steers = send.mode == "steer" and turn is not None
    turn_id = turn.turn_id if turn is not None and steers else step.new_id()
    later = is_later(send, step.now_ms)
    not_before_ms = send.not_before_ms if later else None
    message = UserMessage(send.message_id, send.content, send.attachments, not_before_ms)
    item = step.emit(message, turn_id=turn_id, device_id=author)
    if state.archived:
        state.archived = False
        step.do(KeepNote(archived=False))
    _answer(step, envelope, Accepted(send.message_id, item.seq, duplicate=False))
    if steers:
        step.emit_in_turn(Delivery(send.message_id, "handed"))
        step.do(SteerHub(turn_id, send.message_id, item.seq))
    elif turn is not None or state.failed or later or step.is_undoing:
        state.arriving[send.message_id].key_id = envelope.author.key_id if later else ""
        step.emit(Delivery(send.message_id, "queued"), turn_id=turn_id, device_id=author)
    else:
        step.start_turn(state.arriving[send.message_id])


def _refusal_of(step: Step, envelope: Envelope, send: Send) -> tuple[RejectCode, str] | None:
    if send.flaw is not None:
        return send.flaw
    state = step.state
    at = send.if_head
    if at is not None and (
        at.epoch != state.epoch or state.is_foreign_after(at.seq, envelope.author.device_id)
    ):
        return "stale_head", "somebody else has written since; look, then send again"
    if state.where is not None:
        return OPEN_ELSEWHERE
    turn = state.turn
    if send.mode == "steer" and turn is not None:
        if (
            turn.message_id is None
            or not state.can_steer
            or not turn.consumed
            or turn.stopping_by is not None
        ):
            return "cannot_steer", "this agent takes no message now, in the middle of its turn"
        if len(turn.steered) >= MAX_STEERED:
            return "queue_full", f"{MAX_STEERED} messages were steered into this turn already"
        return None
    if is_later(send, step.now_ms):
        return refusal_of_time(state, send, step.now_ms)
    if len(state.queue) - len(scheduled(state)) >= MAX_QUEUED:
        return "queue_full", f"{MAX_QUEUED} messages wait already"
    return None


def _seq_in_batch(step: Step, message_id: str) -> int | None:
    for item in step.events:
        if isinstance(item.event, UserMessage) and item.event.message_id == message_id:
            return item.seq
    return None


def _cancel(step: Step, envelope: Envelope, cancel: Cancel) -> None:
    waiting = step.state.queue.get(cancel.message_id)
    if waiting is None:
        _reject(step, envelope, "not_queued", "this message does not wait any more", cancel.message_id)
        return
    step.emit(
        Delivery(cancel.message_id, "cancelled"),
        turn_id=waiting.turn_id,
        device_id=envelope.author.device_id,
    )


def _interrupt(step: Step, envelope: Envelope, interrupt: Interrupt) -> None:
    turn, author = step.state.turn, envelope.author.device_id
    if interrupt.background:
        for task_id in step.state.background:
            stop_task(step, task_id)
        if not step.state.background:
            _reject(step, envelope, "nothing_to_interrupt", "nothing runs in the background")
        return
    if turn is None or step.state.is_at_desk or interrupt.turn_id not in (None, turn.turn_id):
        _reject(step, envelope, "nothing_to_interrupt", "no such turn runs")
        return
    if turn.stopping_by is not None:
        return
    turn.stopping_by = author
    step.state.control_dirty = True
    step.cancel_requests(author)
    step.do(SendToHub(InterruptTurn(turn.turn_id)))


def _resolve(step: Step, envelope: Envelope, resolve: Resolve) -> None:
    state, author = step.state, envelope.author.device_id
    waiting = state.unknown.get(resolve.message_id)
    if waiting is None:
        _reject(step, envelope, "not_unknown", "the outcome of this message is known", resolve.message_id)
    elif resolve.action == "discard":
        step.emit(Delivery(resolve.message_id, "cancelled"), device_id=author)
    elif state.where is not None:
        rejected = Rejected(*OPEN_ELSEWHERE, message_id=resolve.message_id, where=state.where)
        _answer(step, envelope, rejected)
    elif len(state.queue) - len(scheduled(state)) >= MAX_QUEUED:
        _reject(step, envelope, "queue_full", f"{MAX_QUEUED} messages wait already", resolve.message_id)
    elif state.turn is not None or state.failed or step.is_undoing:
        step.emit(Delivery(resolve.message_id, "queued"), turn_id=step.new_id(), device_id=author)
    else:
        step.start_turn(attrs.evolve(waiting, turn_id=step.new_id()), device_id=author)


def _renew(step: Step, envelope: Envelope) -> None:
    state = step.state
    if state.turn is not None:
        _answer(step, envelope, Rejected("busy", "a turn runs; stop it or wait for its end"))
        return
    step.release_hub(StopHub)
    state.renewals, state.agent_memory = state.renewals + 1, None
    content = "The agent starts a new conversation with the next message, and gets the history."
    step.emit(Notice("renewed", content), device_id=envelope.author.device_id)


def _give_back(step: Step, envelope: Envelope) -> None:
    state = step.state
    if state.turn is not None or state.background:
        _answer(step, envelope, Rejected("busy", "a turn or a task runs; stop it or wait for its end"))
        return
    had_one = state.hub_id is not None
    step.release_hub(StopHub)
    _answer(step, envelope, Closed(process_killed=had_one))


def _mark_read(step: Step, envelope: Envelope, seq: int) -> None:
    seq = min(seq, step.state.head_seq)
    if seq <= step.state.read_seq:
        return
    step.state.read_seq = seq
    step.do(KeepNote(read_seq=seq))
    step.do(Announce(ReadMarkMoved(seq, envelope.author.device_id)))


def _close(step: Step, envelope: Envelope, *, watched: bool) -> None:
    state = step.state
    is_busy = state.turn is not None or bool(state.background)
    ends = state.hub_id is not None and not is_busy and state.next_waiting() is None and not watched
    if ends:
        step.release_hub(StopHub)
    _answer(step, envelope, Closed(process_killed=ends))


def _refuse_if(step: Step, envelope: Envelope, refusal: tuple[RejectCode, str] | None) -> None:
    if refusal is not None:
        _answer(step, envelope, Rejected(*refusal))


def _refuse_or_close(step: Step, envelope: Envelope, refusal: tuple[RejectCode, str] | None) -> None:
    _answer(step, envelope, Closed(process_killed=False) if refusal is None else Rejected(*refusal))


def _answer(step: Step, envelope: Envelope, reply: Reply) -> None:
    step.do(AnswerCommand(envelope.reply, reply))


def _reject(
    step: Step, envelope: Envelope, code: RejectCode, content: str, message_id: str | None = None
) -> None:
    _answer(step, envelope, Rejected(code, content, message_id=message_id))
