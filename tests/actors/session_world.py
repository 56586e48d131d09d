"""A session's pure core among hubs that misbehave: the model that `test_session_machine` drives.

It does what the actor and the owner of the hub do, without tasks: inputs wait in one inbox, a batch of them is stepped,
committed and then acted upon; each of these can be cut off by a crash, after which only the journal and the hubs are left.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import attrs

from actors.commands import Command
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import Complete, Delivery, Message, Thinking, TurnStarted, UserMessage
from actors.events.permissions import PermissionRequested, PermissionResolved
from actors.events.session import Held, SessionUpdated
from actors.replies import Accepted, Rejected, Reply
from actors.session.effects import Effect, HandOver, KillHub, SendToHub, StartHub, StopHub
from actors.session.inputs import FromHub, HubGone, HubReady, Input
from actors.session.state import SessionState
from actors.session.steps.command_steps import MAX_QUEUED
from actors.session.steps.step import Step
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import Decided, InterruptTurn, Reported, StopTask, Welcome
from tests.actors.core import Core

__all__ = ["FINAL", "Fate", "ModelHub", "World"]

Fate = Literal["fine", "lost before the commit", "lost after the commit"]
FINAL = {"answered", "failed", "interrupted", "cancelled"}


@attrs.define(eq=False)
class ModelHub:
    """A hub as `bridgehub.protocol` describes it."""

    hub_id: str
    alive: bool = True
    linked: bool = False
    had: list[str] = attrs.field(factory=list)
    running: str | None = None
    own: str | None = None  # that turn, if the agent began it by itself
    pending: list[str] = attrs.field(factory=list)  # prompts that wait for its end
    background: list[str] = attrs.field(factory=list)
    stopping: bool = False
    waiting: list[str] = attrs.field(factory=list)
    log: list[Reported] = attrs.field(factory=list)
    last_prompt: str | None = None  # as the present owner sent it


@attrs.define(eq=False)
class World:
    """The world of one session. Everything it asserts is an invariant of the session."""

    core: Core = attrs.field(factory=Core)
    inbox: deque[Input | tuple[Command, str]] = attrs.field(factory=deque)
    hubs: dict[str, ModelHub] = attrs.field(factory=dict)
    queue: list[str] = attrs.field(factory=list)
    open_turn: str | None = None
    started: set[str] = attrs.field(factory=set)
    ended: set[str] = attrs.field(factory=set)
    requests: dict[str, str] = attrs.field(factory=dict)
    resolved: set[str] = attrs.field(factory=set)
    texts: dict[str, dict[tuple[str, str], str]] = attrs.field(factory=dict)
    accepted: dict[str, int] = attrs.field(factory=dict)
    refused: list[Rejected] = attrs.field(factory=list)
    later: set[str] = attrs.field(factory=set)
    held: bool = False
    head: int = 0

    # ---- the hub's side ----

    @property
    def current(self) -> ModelHub | None:
        """The hub that the session's turns go to now."""
        return self.hubs.get(self.core.state.hub_id or "")

    def link(self) -> None:
        """Do what the owner of the hub does next: connect, or find it dead."""
        hub_id = self.core.state.hub_id
        if hub_id is None:
            return
        model = self.hubs.get(hub_id)
        if model is None or not model.alive:
            self.reap(hub_id)
        elif not model.linked:
            model.linked = True
            last = model.had[-1] if model.had else None
            welcome = Welcome(
                1, hub_id, 7, last, model.running is not None, tuple(model.waiting), takes_setup=True
            )
            self.inbox.extend(self._unacknowledged(model))
            self.inbox.append(HubReady(hub_id, welcome))

    def reap(self, hub_id: str) -> None:
        """The hub is dead: what it left, then its end."""
        model = self.hubs.get(hub_id)
        if model is not None:
            model.alive = model.linked = False
            self.inbox.extend(self._unacknowledged(model))
        self.inbox.append(HubGone(hub_id, "died", last_prompt=model.last_prompt if model else None))

    def report(self, model: ModelHub, event: hub.HubEvent) -> None:
        """The hub numbers an event, and sends it where a link is up."""
        seq = len(model.log) + 1
        reported = Reported(seq, seq, event)
        model.log.append(reported)
        if isinstance(event, hub.TurnDone | hub.TurnFailed | hub.TurnStopped):
            model.running, model.own, model.stopping = None, None, False
            model.waiting.clear()
        if model.running is None and model.pending:
            model.running = model.pending.pop()
        if model.linked:
            self.inbox.append(FromHub(model.hub_id, reported))

    def _unacknowledged(self, model: ModelHub) -> list[FromHub]:
        written = self.core.record.summary
        acked = written.hub_seq if written is not None and written.hub_id == model.hub_id else 0
        return [FromHub(model.hub_id, one) for one in model.log if one.seq > acked]

    # ---- the session's side ----

    def settle(self, size: int, fate: Fate) -> None:
        """Take a batch out of the inbox and see it through, as far as `fate` lets it."""
        given: list[Input] = []
        while self.inbox and len(given) < size:
            one = self.inbox.popleft()
            given.append(self.core.given(one[0], one[1]) if isinstance(one, tuple) else one)
        step = self.core.step(*given)
        if fate == "lost before the commit":
            self.crash()
            return
        self.core.commit(step)
        for item in step.events:
            self._check_event(item)
        self._check_state()
        if fate == "lost after the commit":
            self.crash()
            return
        self._check_effects(step)
        before = len(self.core.replies)
        self.core.answer(step)
        for reply in self.core.replies[before:]:
            self._check_reply(reply)
        for effect in step.effects:
            self._run(effect)

    def crash(self) -> None:
        """The session's owner dies; only the journal and the hubs are left."""
        self.inbox.clear()
        for model in self.hubs.values():
            model.linked, model.last_prompt = False, None
        self.core.reload()

    def _run(self, effect: Effect) -> None:
        match effect:
            case StartHub(hub_id):
                assert hub_id not in self.hubs
                self.hubs[hub_id] = ModelHub(hub_id)
            case StopHub(hub_id) | KillHub(hub_id):
                self.reap(hub_id)
            case HandOver(turn_id):
                model = self.current
                if model is not None and model.linked:
                    model.last_prompt = turn_id
                    self._take_prompt(model, turn_id)
            case SendToHub(message) if self.current is not None and self.current.linked:
                if isinstance(message, Decided) and message.request_id in self.current.waiting:
                    self.current.waiting.remove(message.request_id)
                if isinstance(message, InterruptTurn) and message.turn_id == self.current.running:
                    self.current.stopping = True
                if isinstance(message, StopTask) and message.task_id in self.current.background:
                    self.current.background.remove(message.task_id)
                    self.report(self.current, hub.TaskEnded(None, message.task_id, "cancelled"))
            case _:
                pass

    def _take_prompt(self, model: ModelHub, turn_id: str) -> None:
        if turn_id in model.had:
            return
        assert not any(turn_id in other.had for other in self.hubs.values()), "handed over twice"
        assert model.running == model.own, "a hub is busy with another turn"
        model.had.append(turn_id)
        if model.own is not None:
            model.pending.append(turn_id)
        else:
            model.running = turn_id

    def begin_own_turn(self, model: ModelHub) -> None:
        """The agent begins with something by itself."""
        model.running = model.own = f"{model.hub_id}-{len(model.log)}"
        self.report(model, hub.TurnBegan(model.own))

    # ---- what must always be true ----

    def _check_order(self, message_id: str) -> None:
        """First in, first out, but for messages for later and those that come while the queue is kept back."""
        plain = [one for one in self.queue if one not in self.later]
        if message_id in plain:
            assert plain[0] == message_id, "not first in, first out"
        elif message_id not in self.later:
            assert not plain or self.held, "it overtook what waits"
        self.queue = [one for one in self.queue if one != message_id]

    def _check_event(self, item: Committed) -> None:
        assert item.first_seq == self.head + 1 <= item.seq, "a gap"
        self.head = item.seq
        assert item.turn_id not in self.ended or item.turn_id is None, "something after the turn's end"
        event = item.event
        match event:
            case UserMessage(message_id, not_before_ms=int()):
                self.later.add(message_id)
            case SessionUpdated(held=Held(code)):
                self.held = bool(code)
            case Delivery(message_id, "queued"):
                self.queue.append(message_id)
            case Delivery(message_id, "cancelled"):
                self.queue = [one for one in self.queue if one != message_id]
            case Delivery(_, "handed" | "consumed" | "answered" | "failed" | "interrupted" | "unknown"):
                assert item.turn_id == self.open_turn
            case TurnStarted(message_id):
                assert self.open_turn is None
                if message_id is not None:
                    self._check_order(message_id)
                assert item.turn_id is not None
                assert item.turn_id not in self.started
                self.started.add(item.turn_id)
                self.open_turn = item.turn_id
            case PermissionRequested(request_id):
                assert request_id not in self.requests
                self.requests[request_id] = item.turn_id or ""
            case PermissionResolved(request_id):
                assert request_id not in self.resolved
                self.resolved.add(request_id)
            case Message() | Thinking():
                texts = self.texts.setdefault(item.turn_id or "", {})
                key = (event.kind, event.block)
                assert event.offset == (len(texts.get(key, "")) if event.content else 0)
                texts[key] = texts.get(key, "")[: event.offset] + event.content
            case _ if event.kind in TURN_ENDS:
                assert item.turn_id is not None
                assert item.turn_id == self.open_turn
                self.ended.add(item.turn_id)
                self.open_turn = None
                left = {one for one, turn in self.requests.items() if turn == item.turn_id} - self.resolved
                assert not left, "a request outlived its turn"
                assert self.core.text_of(item.turn_id) == self.texts.get(item.turn_id, {})
                if isinstance(event, Complete):
                    assert self.texts.get(item.turn_id, {}) == self._said(item.turn_id), "lost or doubled"
            case _:
                pass
        assert len(self.queue) <= MAX_QUEUED

    def _said(self, turn_id: str) -> dict[tuple[str, str], str]:
        """Return the texts of a turn as its hub said them; the agent's own turns have blocks of their own."""
        told = self.texts.get(turn_id, {})
        texts: dict[tuple[str, str], str] = {}
        for model in self.hubs.values():
            for event in (reported.event for reported in model.log):
                if isinstance(event, hub.BlockDropped) or (isinstance(event, hub.TextPiece) and event.text):
                    key = ("message" if event.channel == "text" else "thinking", event.block)
                    if event.turn_id != turn_id and not ("-" in event.block and key in told):
                        continue
                    if isinstance(event, hub.TextPiece):
                        texts[key] = texts.get(key, "") + event.text
                    elif key in texts:
                        texts[key] = ""
        return texts

    def _check_state(self) -> None:
        live, loaded = self.core.state, self.core.loaded()
        assert live.head_seq == self.head
        assert list(live.queue) == self.queue
        assert (live.turn.turn_id if live.turn else None) == self.open_turn
        assert not live.arriving
        assert live.hub_id is not None or not live.background, "a task outlived its hub"
        assert control(live) == control(loaded)

    def _check_effects(self, step: Step) -> None:
        said = {row.seq: row.kind for row in self.core.rows}
        for effect in step.effects:
            if isinstance(effect, HandOver):
                assert said[effect.message_seq] == UserMessage.kind
            if isinstance(effect, StartHub):
                assert effect.hub_id == self.core.record.summary.hub_id  # type: ignore[union-attr]
            if isinstance(effect, SendToHub) and isinstance(effect.message, Decided):
                request_id = effect.message.request_id
                assert request_id in self.resolved or request_id not in self.requests

    def _check_reply(self, reply: Reply) -> None:
        if isinstance(reply, Accepted):
            kinds = {row.seq: row.kind for row in self.core.rows}
            assert kinds[reply.seq] == UserMessage.kind
            if reply.duplicate:
                self.accepted.setdefault(reply.message_id, reply.seq)  # its own answer may have been lost
            else:
                assert reply.message_id not in self.accepted
            assert self.accepted.setdefault(reply.message_id, reply.seq) == reply.seq
        elif isinstance(reply, Rejected):
            self.refused.append(reply)


def control(state: SessionState) -> dict[str, object]:
    """Return all that a reload must bring back."""
    left_out = {"arriving", "configured", "control_dirty", "gauge", "offer", "snapshot_kept"}
    fields = [field.name for field in attrs.fields(SessionState) if field.name not in left_out]
    kept = {name: getattr(state, name) for name in fields}
    kept["previews"] = [one.preview for one in (*state.queue.values(), *state.unknown.values())]
    if state.turn is not None:
        answer = state.turn.answer
        kept["answer"] = (
            answer.length,
            answer.held,
            answer.last_seq,
            answer.sha256(),
            answer.offset("message", "a"),
        )
    return kept
