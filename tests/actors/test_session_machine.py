"""Whatever devices, hubs and crashes do, in whatever order: a session keeps its promises (`world` asserts them)."""

from __future__ import annotations

from typing import Literal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actors.commands import (
    Attach,
    Cancel,
    Command,
    Configure,
    Decide,
    Interrupt,
    Rename,
    Resolve,
    Send,
    SendNow,
    StopTask,
)
from actors.events.codec import decode_row
from actors.events.invariants import violations
from actors.replies import IfHead
from actors.session.inputs import FromHub, IdleTooLong, MarkFailed, Resume, TimeCame
from bridgehub.agents.echo import OFFER
from bridgehub.protocol import events as hub
from tests.actors.session_world import FINAL, Fate, ModelHub, World

DEVICE = st.sampled_from(["phone", "mac"])
Channel = Literal["text", "thinking"]
PICK = st.integers(0, 9)
THEN: st.SearchStrategy[Fate | None] = st.sampled_from(
    ["fine", "fine", "fine", "fine", "fine", None, None, "lost before the commit", "lost after the commit"]
)
"""What becomes of the batch that a rule's news are in; None leaves them in the inbox for a later one."""


class SessionMachine(RuleBasedStateMachine):
    """Rules put things into the inbox; `settle` takes them out."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.sent: list[str] = []
        self.asked = 0

    def give(self, command: Command, device: str) -> None:
        self.world.inbox.append((command, device))

    @property
    def hub(self) -> ModelHub | None:
        model = self.world.current
        return model if model is not None and model.alive else None

    @property
    def busy(self) -> ModelHub:
        model = self.hub
        assert model is not None
        return model

    @property
    def is_busy(self) -> bool:
        return self.hub is not None and self.hub.running is not None

    def then(self, fate: Fate | None) -> None:
        if fate is not None:
            self.world.settle(100, fate)
        if fate == "fine":
            self.world.link()
            self.world.settle(100, fate)

    @initialize()
    def begin(self) -> None:
        self.send("phone", False, None, "fine")
        self.link("fine")

    # ---- devices ----

    @rule(device=DEVICE, steer=st.booleans(), head=st.none() | st.integers(0, 30), then=THEN)
    def send(self, device: str, steer: bool, head: int | None, then: Fate | None) -> None:
        message_id = f"m{len(self.sent)}"
        self.sent.append(message_id)
        at = None if head is None else IfHead(1, head)
        mode: Literal["queue", "steer"] = "steer" if steer else "queue"
        self.give(Send(message_id, f"words of {message_id}", if_head=at, mode=mode), device)
        self.then(then)

    @precondition(lambda self: self.sent)
    @rule(device=DEVICE, pick=PICK, what=st.sampled_from(["again", "cancel", "retry", "discard"]), then=THEN)
    def come_back_to_a_message(self, device: str, pick: int, what: str, then: Fate | None) -> None:
        message_id = self.sent[-1 - pick % len(self.sent)]
        command: Command = Send(message_id, "other words")
        if what == "cancel":
            command = Cancel(message_id)
        elif what in ("retry", "discard"):
            command = Resolve(message_id, what)  # type: ignore[arg-type]
        self.give(command, device)
        self.then(then)

    @rule(device=DEVICE, stale=st.booleans(), then=THEN)
    def interrupt(self, device: str, stale: bool, then: Fate | None) -> None:
        self.give(Interrupt("some-turn" if stale else None), device)
        self.then(then)

    @precondition(lambda self: self.asked)
    @rule(device=DEVICE, pick=PICK, decision=st.sampled_from(["allow", "deny", "allow_session"]), then=THEN)
    def decide(self, device: str, pick: int, decision: Literal["allow", "deny"], then: Fate | None) -> None:
        self.give(Decide(f"p{self.asked - pick % self.asked}", decision), device)
        self.then(then)

    @rule(
        device=DEVICE,
        mode=st.sampled_from(["ask", "edits", "plan", "auto", "bypass", "nonsense", None]),
        then=THEN,
    )
    def configure(self, device: str, mode: str | None, then: Fate | None) -> None:
        self.give(Configure({"permission_mode": mode, "model": None}), device)
        self.then(then)

    @precondition(lambda self: self.asked)
    @rule(device=DEVICE, pick=PICK, mode=st.sampled_from(["edits", "bypass"]), then=THEN)
    def decide_with_a_mode(self, device: str, pick: int, mode: str, then: Fate | None) -> None:
        request_id = f"p{self.asked - pick % self.asked}"
        self.give(Decide(request_id, "allow", input={"n": 2}, mode=mode, drives=True), device)
        self.then(then)

    @rule(device=DEVICE, ahead=st.integers(0, 60), then=THEN)
    def send_for_later(self, device: str, ahead: int, then: Fate | None) -> None:
        message_id = f"m{len(self.sent)}"
        self.sent.append(message_id)
        at = 1_000 + self.world.head + ahead
        self.give(Send(message_id, f"words of {message_id}", not_before_ms=at), device)
        self.then(then)

    @precondition(lambda self: self.sent)
    @rule(device=DEVICE, pick=PICK, what=st.sampled_from(["clock", "revoked", "now"]), then=THEN)
    def time_comes(self, device: str, pick: int, what: str, then: Fate | None) -> None:
        if what == "now":
            self.give(SendNow(self.sent[-1 - pick % len(self.sent)]), device)
        else:
            revoked = frozenset({"key-of-phone"}) if what == "revoked" else frozenset[str]()
            self.world.inbox.append(TimeCame(revoked))
        self.then(then)

    @rule(device=DEVICE, then=THEN)
    def rename_and_attach(self, device: str, then: Fate | None) -> None:
        self.give(Rename("Trip"), device)
        self.give(Attach(), device)
        self.then(then)

    # ---- the hub ----

    @rule(then=THEN)
    def link(self, then: Fate | None) -> None:
        self.world.link()
        self.then(then)

    @precondition(lambda self: self.is_busy)
    @rule(
        channel=st.sampled_from(["text", "text", "thinking"]),
        block=st.sampled_from("ab"),
        texts=st.lists(st.text(max_size=5), min_size=1, max_size=4),
        then=THEN,
    )
    def pieces(self, channel: Channel, block: str, texts: list[str], then: Fate | None) -> None:
        block = block if self.busy.own is None else f"{block}-{self.busy.own}"
        for text in texts:
            self.world.report(self.busy, hub.TextPiece(self.busy.running or "", channel, block, text))
        self.then(then)

    @precondition(lambda self: self.is_busy)
    @rule(channel=st.sampled_from(["text", "thinking"]), block=st.sampled_from("ab"), then=THEN)
    def drop(self, channel: Channel, block: str, then: Fate | None) -> None:
        block = block if self.busy.own is None else f"{block}-{self.busy.own}"
        self.world.report(self.busy, hub.BlockDropped(self.busy.running or "", channel, block))
        self.then(then)

    @precondition(lambda self: self.is_busy)
    @rule(what=st.sampled_from(["consumed", "ask", "task", "tool", "notice"]), then=THEN)
    def work(self, what: str, then: Fate | None) -> None:
        turn = self.busy.running or ""
        self.asked += what == "ask"
        if what == "ask":
            self.busy.waiting.append(f"p{self.asked}")
        event: dict[str, hub.HubEvent] = {
            "consumed": hub.Consumed(turn),
            "ask": hub.PermissionAsked(
                turn,
                f"p{self.asked}",
                "bash",
                {"n": 1},
                ("allow", "deny"),
                modes=("edits", "bypass"),
                editable=("n",),
            ),
            "task": hub.TaskBegan(turn, f"k{len(self.busy.log)}", "dig", "echo"),
            "tool": hub.ToolBegan(turn, f"t{len(self.busy.log)}", "bash", None),
            "notice": hub.Noticed(None, "history_cut", "older messages were left out"),
        }
        self.world.report(self.busy, event[what])
        self.then(then)

    @precondition(lambda self: self.hub is not None and not self.is_busy)
    @rule(then=THEN)
    def begin_by_itself(self, then: Fate | None) -> None:
        self.world.begin_own_turn(self.busy)
        self.then(then)

    @precondition(lambda self: self.hub is not None)
    @rule(what=st.sampled_from(["begins", "begins", "ends", "says"]), then=THEN)
    def work_in_background(self, what: str, then: Fate | None) -> None:
        model = self.busy
        if what == "begins" or not model.background:
            model.background.append(f"b{model.hub_id}{len(model.log)}")
            began = hub.TaskBegan(model.running, model.background[-1], "dig", "echo", background=True)
            self.world.report(model, began)
        elif what == "ends":
            self.world.report(model, hub.TaskEnded(model.running, model.background.pop(), "succeeded"))
        else:
            self.world.report(model, hub.TaskProgressed(model.running, model.background[-1], "digging"))
        self.then(then)

    @rule(device=DEVICE, pick=PICK, what=st.sampled_from(["one", "all", "none"]), then=THEN)
    def stop_in_background(self, device: str, pick: int, what: str, then: Fate | None) -> None:
        known = list(self.world.core.state.background)
        if what == "all" or not known:
            self.give(Interrupt(background=True), device)
        else:
            self.give(StopTask(known[pick % len(known)] if what == "one" else "unknown"), device)
        self.then(then)

    @precondition(lambda self: self.hub is not None)
    @rule(mode=st.sampled_from(["ask", "plan", "bypass"]), refused=st.booleans(), then=THEN)
    def tell_settings(self, mode: str, refused: bool, then: Fate | None) -> None:
        why = "no" if refused else None
        self.world.report(self.busy, hub.AgentOffered(None, OFFER))
        self.world.report(self.busy, hub.SettingsTold(None, {"permission_mode": mode}, why))
        self.then(then)

    @precondition(lambda self: self.is_busy)
    @rule(how=st.sampled_from(["done", "failed", "limited"]), then=THEN)
    def end(self, how: str, then: Fate | None) -> None:
        turn = self.busy.running or ""
        done: hub.HubEvent = hub.TurnDone(turn)
        if self.busy.stopping:
            done = hub.TurnStopped(turn)
        elif how == "failed":
            done = hub.TurnFailed(turn, "model_error", "no", retryable=True)
        elif how == "limited":
            done = hub.TurnFailed(turn, "usage_limit", "no", retryable=True)
        self.world.report(self.busy, done)
        self.then(then)

    @precondition(lambda self: self.hub is not None and self.hub.log)
    @rule(pick=PICK)
    def say_again(self, pick: int) -> None:
        old = self.busy.log[-1 - pick % len(self.busy.log)]
        committed = self.world.core.state.hub_seq
        if old.seq <= committed:
            self.world.inbox.append(FromHub(self.busy.hub_id, old))
        self.world.inbox.append(FromHub("another-hub", old))

    # ---- the owner ----

    @rule(size=st.integers(1, 8), fate=THEN)
    def settle(self, size: int, fate: Fate | None) -> None:
        self.world.settle(size, fate or "fine")

    @rule(what=st.sampled_from(["link", "link", "die", "die", "idle", "fail"]), then=THEN)
    def misfortune(self, what: str, then: Fate | None) -> None:
        if what == "link" and self.hub is not None:
            self.hub.linked = False
        elif what == "die" and self.hub is not None:
            self.world.reap(self.hub.hub_id)
        elif what == "idle":
            self.world.inbox.append(IdleTooLong())
        elif what == "fail":
            self.fail_and_resume()
        self.then(then)

    def fail_and_resume(self) -> None:
        for model in self.world.hubs.values():
            model.alive = model.linked = False
        self.world.inbox.clear()
        self.world.inbox.append(MarkFailed("a defect"))
        self.world.settle(1, "fine")
        self.world.crash()
        self.world.inbox.append(Resume())
        self.world.settle(1, "fine")

    def teardown(self) -> None:
        """Drain: every accepted message reaches a final state, and the journal has one story."""
        world = self.world
        world.crash()
        world.inbox.append(Resume())
        for _ in range(4 * len(self.sent) + 20):
            world.link()
            if self.is_busy:
                for request_id in self.busy.waiting:
                    self.give(Decide(request_id, "allow"), "mac")
                self.end("done", None)
            for message_id, waiting in world.core.state.queue.items():
                if waiting.kept or waiting.not_before_ms is not None:
                    self.give(SendNow(message_id), "mac")
            if world.core.state.held is not None and world.core.state.turn is None:
                self.send("mac", False, None, None)  # a queue that is held continues after a success
            for message_id in world.core.state.unknown:
                self.give(Resolve(message_id, "discard"), "mac")
            world.settle(1000, "fine")
        state = world.core.state
        assert state.turn is None
        assert not state.queue
        assert not state.unknown
        assert world.started == world.ended
        for message_id in world.accepted:
            assert world.core.commands[message_id].state in FINAL
        assert world.requests.keys() == world.resolved
        position = 0
        for row in world.core.rows:
            assert row.first_seq == position + 1 <= row.seq
            position = row.seq
        assert position == world.head
        assert violations(decode_row(row) for row in world.core.rows) == []
        for turn_id, texts in world.texts.items():
            assert world.core.text_of(turn_id) == texts


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
