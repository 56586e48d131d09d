"""What a session does with each input: the table of `docs/architecture.md`, in code. Pure.

`Step` takes one input after another and collects the events and effects of a batch. An event is applied to the state
in the moment that it is decided, so that the next decision sees it; the actor commits the batch's events before it
runs any of the batch's effects, and throws the state away where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from actors.commands import (
    Accepted,
    Attach,
    Cancel,
    Close,
    Closed,
    Decide,
    Draft,
    Envelope,
    Interrupt,
    MarkRead,
    RejectCode,
    Rejected,
    Rename,
    Reply,
    Resolve,
    Send,
)
from actors.effects import Announce, Answer, Effect, HandOver, KeepNote, KillHub, StartHub, StopHub, TellHub
from actors.events import (
    Committed,
    Delivery,
    DeliveryState,
    Event,
    Interrupted,
    PermissionResolved,
    SessionUpdated,
    TaskFinished,
    TurnStarted,
    UserMessage,
)
from actors.inputs import FromDevice
from actors.session_state import SessionState, Turn, Waiting, apply, view
from actors.tail import DraftChanged, ReadMarkMoved
from bridgehub.protocol.messages import Decided, InterruptTurn
from storage.records import Command as KnownCommand
from storage.records import Fold

__all__ = ["MAX_QUEUED", "Step"]

MAX_QUEUED = 100
"""Messages that wait in one session (PROTOCOL section 3, Send)."""

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

    # ---- the words of every decision ----

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

    def end_turn(self, delivery: DeliveryState, end: Event, *, device_id: str | None = None) -> None:
        """Close what is open, end the turn and start the next one that waits."""
        turn = self.state.turn
        assert turn is not None
        self.cancel_requests(None)
        for task in tuple(turn.tasks.values()):
            self.emit_in_turn(
                TaskFinished(
                    task.task_id, task.title, task.agent_type, "cancelled", None, task.parent_task_id
                )
            )
        self.emit_in_turn(Delivery(turn.message_id, delivery))
        self.folds += turn.answer.folds()
        self.emit_in_turn(end, device_id=device_id)
        self.start_next()

    def stop_turn(self) -> None:
        """End the turn as interrupted by whoever asked for it."""
        assert self.state.turn is not None
        by = self.state.turn.stopping_by
        self.end_turn("interrupted", Interrupted(by), device_id=by)

    def cancel_requests(self, by_device: str | None) -> None:
        """Close each open request without an answer."""
        turn = self.state.turn
        assert turn is not None
        for request_id in tuple(turn.requests):
            self.emit_in_turn(PermissionResolved(request_id, "cancelled", by_device), device_id=by_device)

    def start_next(self) -> None:
        """Start the turn of the first message that waits, where one does and the session works."""
        waiting = next(iter(self.state.queue.values()), None)
        if waiting is not None and self.state.turn is None and not self.state.failed:
            self.start_turn(waiting)

    def start_turn(self, waiting: Waiting, *, device_id: str | None = None) -> None:
        """Start a turn and hand its message over, to a new hub where none is there."""
        state = self.state
        turn_id = waiting.turn_id
        self.emit(TurnStarted(waiting.message_id), turn_id=turn_id, device_id=device_id)
        self.emit_in_turn(Delivery(waiting.message_id, "handed"))
        assert state.turn is not None
        if state.hub_id is None:
            self.start_hub()
        else:
            state.turn.may_move = True
            self.do(hand_over(state, state.turn))

    def start_hub(self) -> None:
        """Start a hub; once it is ready the running turn's message is handed over."""
        state = self.state
        state.hub_id, state.hub_seq = self.new_id()[:HUB_ID_LENGTH], 0
        self.do(StartHub(state.hub_id))

    def let_hub_go(self, ending: type[StopHub | KillHub]) -> None:
        """Forget the hub, then end it: what is sent from now on goes to a new one."""
        state = self.state
        if state.hub_id is not None:
            self.do(ending(state.hub_id))
            state.leaving[state.hub_id] = None
            state.control_dirty = True
            state.hub_id, state.hub_seq = None, 0

    # ---- commands ----

    def take_command(self, given: FromDevice) -> None:
        """Decide what a device's command does."""
        envelope = given.envelope
        match envelope.command:
            case Attach():
                self._answer(envelope, view(self.state))
            case Send() as send:
                self._send(envelope, send, given.known)
            case Cancel() as cancel:
                self._cancel(envelope, cancel)
            case Interrupt() as interrupt:
                self._interrupt(envelope, interrupt)
            case Decide() as decide:
                self._decide(envelope, decide)
            case Resolve() as resolve:
                self._resolve(envelope, resolve)
            case Rename(title):
                self.emit(SessionUpdated(title=title), device_id=envelope.author.device_id)
            case MarkRead(seq):
                self._mark_read(envelope, seq)
            case Draft(content):
                self.state.draft = content
                self.do(KeepNote(draft=content))
                self.do(Announce(DraftChanged(content, envelope.author.device_id)))
            case Close():
                self._close(envelope, watched=given.watched)

    def _send(self, envelope: Envelope, send: Send, known: KnownCommand | None) -> None:
        state, author = self.state, envelope.author.device_id
        seq = known.seq if known is not None else self._seq_in_batch(send.message_id)
        if seq is not None:
            self._answer(envelope, Accepted(send.message_id, seq, duplicate=True))
            return
        refusal = self._refusal_of(envelope, send)
        if refusal is not None:
            code, content = refusal
            head = state.head if code == "stale_head" else None
            self._answer(envelope, Rejected(code, content, message_id=send.message_id, head=head))
            return
        waits = state.turn is not None
        turn_id = self.new_id()
        message = UserMessage(send.message_id, send.content, send.attachments)
        item = self.emit(message, turn_id=turn_id, device_id=author)
        self._answer(envelope, Accepted(send.message_id, item.seq, duplicate=False))
        if waits or state.failed:
            self.emit(Delivery(send.message_id, "queued"), turn_id=turn_id, device_id=author)
        else:
            self.start_turn(state.arriving[send.message_id])

    def _refusal_of(self, envelope: Envelope, send: Send) -> tuple[RejectCode, str] | None:
        state = self.state
        at = send.if_head
        if at is not None and (
            at.epoch != state.epoch or state.is_foreign_after(at.seq, envelope.author.device_id)
        ):
            return "stale_head", "somebody else has written since; look, then send again"
        if send.mode == "steer" and state.turn is not None:
            return "cannot_steer", "this agent takes no message in the middle of a turn"
        if len(state.queue) >= MAX_QUEUED:
            return "queue_full", f"{MAX_QUEUED} messages wait already"
        return None

    def _seq_in_batch(self, message_id: str) -> int | None:
        for item in self.events:
            if isinstance(item.event, UserMessage) and item.event.message_id == message_id:
                return item.seq
        return None

    def _cancel(self, envelope: Envelope, cancel: Cancel) -> None:
        waiting = self.state.queue.get(cancel.message_id)
        if waiting is None:
            self._reject(envelope, "not_queued", "this message does not wait any more", cancel.message_id)
            return
        self.emit(
            Delivery(cancel.message_id, "cancelled"),
            turn_id=waiting.turn_id,
            device_id=envelope.author.device_id,
        )

    def _interrupt(self, envelope: Envelope, interrupt: Interrupt) -> None:
        turn, author = self.state.turn, envelope.author.device_id
        if turn is None or interrupt.turn_id not in (None, turn.turn_id):
            self._reject(envelope, "nothing_to_interrupt", "no such turn runs")
            return
        if turn.stopping_by is not None:
            return
        turn.stopping_by = author
        self.state.control_dirty = True
        self.cancel_requests(author)
        self.do(TellHub(InterruptTurn(turn.turn_id)))

    def _decide(self, envelope: Envelope, decide: Decide) -> None:
        state, author, request_id = self.state, envelope.author.device_id, decide.request_id
        if state.turn is not None and request_id in state.turn.requests:
            resolved = PermissionResolved(request_id, decide.decision, author, decide.note, decide.answers)
            self.emit_in_turn(resolved, device_id=author)
            self.do(TellHub(decided(resolved)))
        elif request_id in state.resolved:
            by = state.resolved[request_id]
            content = f"{by} was first" if by is not None else "this request is closed already"
            self._answer(envelope, Rejected("already_resolved", content, request_id=request_id, by_device=by))
        else:
            self._answer(
                envelope, Rejected("unknown_request", "there is no such request", request_id=request_id)
            )

    def _resolve(self, envelope: Envelope, resolve: Resolve) -> None:
        state, author = self.state, envelope.author.device_id
        waiting = state.unknown.get(resolve.message_id)
        if waiting is None:
            self._reject(envelope, "not_unknown", "the outcome of this message is known", resolve.message_id)
        elif resolve.action == "discard":
            self.emit(Delivery(resolve.message_id, "cancelled"), device_id=author)
        elif len(state.queue) >= MAX_QUEUED:
            self._reject(envelope, "queue_full", f"{MAX_QUEUED} messages wait already", resolve.message_id)
        elif state.turn is not None or state.failed:
            self.emit(Delivery(resolve.message_id, "queued"), turn_id=self.new_id(), device_id=author)
        else:
            self.start_turn(attrs.evolve(waiting, turn_id=self.new_id()), device_id=author)

    def _mark_read(self, envelope: Envelope, seq: int) -> None:
        seq = min(seq, self.state.head_seq)
        if seq <= self.state.read_seq:
            return
        self.state.read_seq = seq
        self.do(KeepNote(read_seq=seq))
        self.do(Announce(ReadMarkMoved(seq, envelope.author.device_id)))

    def _close(self, envelope: Envelope, *, watched: bool) -> None:
        state = self.state
        ends = state.hub_id is not None and state.turn is None and not state.queue and not watched
        if ends:
            self.let_hub_go(StopHub)
        self._answer(envelope, Closed(process_killed=ends))

    def _answer(self, envelope: Envelope, reply: Reply) -> None:
        self.do(Answer(envelope.reply, reply))

    def _reject(
        self, envelope: Envelope, code: RejectCode, content: str, message_id: str | None = None
    ) -> None:
        self._answer(envelope, Rejected(code, content, message_id=message_id))


def hand_over(state: SessionState, turn: Turn) -> HandOver:
    """Return the effect that gives the running turn's message to the hub."""
    return HandOver(turn.turn_id, turn.message_id, turn.message_seq, state.taken)


def decided(resolved: PermissionResolved) -> Decided:
    """Return a person's answer in the hub's words."""
    return Decided(resolved.request_id, resolved.decision, resolved.note, resolved.answers)
