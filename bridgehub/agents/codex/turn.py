"""The running turn of a Codex thread: what is known of it, and what Codex reports of it as events.

Some messages are commands of Codex's own terminal. Sent as text, they would only be words for the model, so each starts
its turn by a method of its own.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import trio

from bridgehub.agents.base import Sink
from bridgehub.agents.codex.live.elsewhere import said_by_others, said_in
from bridgehub.agents.codex.translate.events import CodexTranslator
from bridgehub.agents.codex.translate.gauge import CodexGauge
from bridgehub.agents.codex.translate.items import plan_entries
from bridgehub.agents.codex.translate.outcome import TokenUsage
from bridgehub.agents.codex.translate.sub_agents import SubAgents
from bridgehub.agents.json_rpc.messages import Fields, Notification
from bridgehub.blobs import blob_of, keep_blob
from bridgehub.desk.records import DESK
from bridgehub.protocol.events import Consumed, Gauged, HubEvent, Noticed, PlanChanged
from bridgehub.protocol.session_events import PersonSaid

__all__ = ["COMMANDS", "CodexTurn", "OwnCall", "SteeredMessage", "own_call"]

AGENTS_BEGIN_S = 5.0
"""How long a finished turn waits for an agent that was started and has not begun, seconds; 0.01 s seen."""

AGENTS_STOP_S = 2.0
"""How long the agents of a failed or stopped turn may take to end, seconds. Then the program is closed with them."""

COMMANDS = (
    {"name": "compact", "description": "Sum the conversation up to make room.", "argument_hint": ""},
    {
        "name": "review",
        "description": "Review the changes that are not committed, or what the words after it say.",
        "argument_hint": "[instructions]",
    },
)
"""The commands in the form of Codex's offer."""


@attrs.frozen
class OwnCall:
    """A method of Codex that starts a turn. `item`: the kind of the first item by which Codex shows that it has begun."""

    method: str
    params: dict[str, Any]
    item: str


def own_call(content: str) -> OwnCall | None:
    """Return the call that a message stands for if it is a command. None if it is text for the model."""
    word, _, rest = content.strip().partition(" ")
    if word == "/compact" and not rest:
        return OwnCall("thread/compact/start", {}, "contextCompaction")
    if word == "/review":
        instructions = rest.strip()
        target = (
            {"type": "custom", "instructions": instructions}
            if instructions
            else {"type": "uncommittedChanges"}
        )
        return OwnCall("review/start", {"target": target, "delivery": "inline"}, "enteredReviewMode")
    return None


@attrs.define(eq=False)
class SteeredMessage:
    """A message that was steered into a turn. `decided`: set once it is known whether Codex took it."""

    decided: trio.Event = attrs.field(factory=trio.Event)
    taken: bool = False


@attrs.define(eq=False)
class CodexTurn:
    """The running turn of a thread, and what Codex reports of it."""

    turn_id: str
    message_id: str
    sink: Sink
    gauge: CodexGauge
    agents: SubAgents
    blob_folder: str
    translator: CodexTranslator = attrs.field(init=False)
    codex_id: str = ""
    running_id: str = ""
    """The id of the turn that Codex can stop. It differs from `codex_id` only in a review."""
    usage: TokenUsage = attrs.field(factory=TokenUsage)
    plan: str | None = None
    """The plan that a turn in plan mode ended with."""
    own_call: OwnCall | None = None
    """What Codex does instead of taking a prompt."""
    consumed: bool = False
    interrupted: bool = False
    broke: bool = True
    """Whether Codex has not reported the turn's end."""
    started: trio.Event = attrs.field(factory=trio.Event)
    steers: dict[str, SteeredMessage] = attrs.field(factory=dict)
    asks: dict[int | str, trio.CancelScope] = attrs.field(factory=dict)
    warned: set[str] = attrs.field(factory=set)
    over: Notification | None = None
    """Codex's own end of the turn. After that, only its agents are awaited."""
    over_at: float = 0.0
    is_desk: bool = False
    """Whether a terminal began it."""
    wanted_id: str = ""
    """Codex's id of the turn that takes our prompt."""
    replied: trio.Event = attrs.field(factory=trio.Event)
    """Set once that id is known, or never will be."""
    answered: dict[str, bool] = attrs.field(factory=dict)
    """What was answered here, by the item that waited: whether it was allowed."""
    _first_item: str = ""
    """With which a terminal's turn began: its message, or what Codex does before it, such as a compaction."""

    def __attrs_post_init__(self) -> None:
        self.translator = CodexTranslator(self.turn_id)

    @property
    def is_spoilt(self) -> bool:
        """Whether the work of its agents is no longer wanted."""
        failed = self.over is not None and self.over.params.inner("turn").text("status") != "completed"
        return self.interrupted or failed

    @property
    def is_stopped_there(self) -> bool:
        """Whether somebody stopped it in a terminal."""
        status = "" if self.over is None else self.over.params.inner("turn").text("status")
        return status == "interrupted" and not self.interrupted

    async def has_prompt(self) -> bool:
        """Return whether the turn that ended had our prompt, or needs none."""
        await trio.lowlevel.checkpoint()
        if self.consumed or self.own_call is not None or not self.codex_id:
            return True
        # Codex answers before our turn begins, and its answers are taken as they are read: before this message was.
        return self.replied.is_set() and self.wanted_id in ("", self.codex_id)

    def deadline(self) -> float:
        """Return until when the next message is waited for: without end, unless only agents are missing."""
        if self.over is not None and self.is_spoilt:
            return self.over_at + AGENTS_STOP_S
        if self.over is not None and not self.agents.running:
            return self.over_at + AGENTS_BEGIN_S
        return math.inf

    def has(self, told: Notification) -> bool:
        """Return whether a message belongs to this turn. Items of earlier turns do not."""
        about = told.params.maybe_text("turnId") or told.params.inner("turn").maybe_text("id")
        return not self.codex_id or about in (None, self.codex_id)

    async def hear(self, told: Notification) -> None:
        """Take what Codex reports of the turn, and report it on."""
        if told.method == "item/started":
            self._first_item = self._first_item or told.params.inner("item").text("id")
        match told.method:
            case "turn/started":
                begun = told.params.inner("turn")
                # A review runs in a turn inside its own. What follows names the outer turn; a stop must name the inner one.
                self.running_id = begun.text("id")
                self.codex_id = self.agents.root_id = begun.text("rootTurnId") or self.running_id
                self.started.set()
            case "item/started" if told.params.inner("item").text("type") == "userMessage":
                await self._note_taken(told.params.inner("item"))
            case "item/started" if self._begins_own_call(told):
                self.consumed = True
                await self.sink.emit(Consumed(self.turn_id))
            case "item/completed" if told.params.inner("item").text("type") == "plan":
                self.plan = told.params.inner("item").text("text")
                for event in self.translator.translate(told, trio.current_time()):
                    await self.emit(event)
            case "item/completed" if told.params.inner("item").text("id") in self.answered:
                await self._check_answer(told.params.inner("item"))
                for event in self.translator.translate(told, trio.current_time()):
                    await self.emit(event)
            case "turn/plan/updated":
                await self.sink.emit(PlanChanged(self.turn_id, plan_entries(told.params)))
            case "thread/tokenUsage/updated":
                self.usage.note(told.params.inner("tokenUsage"))
                self.gauge.note_tokens(told.params.inner("tokenUsage"))
                await self.sink.emit(Gauged(None, self.gauge.told()))
            case "account/rateLimits/updated":
                self.gauge.note_limits(told.params.inner("rateLimits"))
                await self.sink.emit(Gauged(None, self.gauge.told()))
            case "warning" | "guardianWarning":
                await self._warn(told.params.text("message"))
            case _:
                for event in self.translator.translate(told, trio.current_time()):
                    await self.emit(event)

    def _begins_own_call(self, told: Notification) -> bool:
        call = self.own_call
        return call is not None and not self.consumed and told.params.inner("item").text("type") == call.item

    async def _note_taken(self, item: Fields) -> None:
        client_id = item.text("clientId")
        if self.is_desk and self._first_item == item.text("id"):
            pass  # the turn was reported with it
        elif said_by_others(item) and self.own_call is None:
            name, of_turn = f"{DESK}-{item.text('id')}"[:128], f"{DESK}-{self.codex_id}"
            await self.sink.emit(PersonSaid(self.turn_id, name, said_in(item), of_turn))
        if client_id == self.message_id and not self.consumed:
            self.consumed = True
            await self.sink.emit(Consumed(self.turn_id))
        steer = self.steers.get(client_id)
        if steer is not None:
            steer.taken = True
            steer.decided.set()

    async def _check_answer(self, item: Fields) -> None:
        """Report that a terminal's answer counted, if the item went another way than was answered here."""
        allowed, was_declined = self.answered.pop(item.text("id")), item.text("status") == "declined"
        if allowed == was_declined:
            answer = "no" if was_declined else "yes"
            content = f"The terminal answered first, and its answer counted: {answer}."
            await self.sink.emit(Noticed(self.turn_id, "answered_at_desk", content))

    async def _warn(self, message: str) -> None:
        if message and message not in self.warned:
            self.warned.add(message)
            await self.sink.emit(Noticed(self.turn_id, "agent_warning", message))

    async def emit(self, event: HubEvent) -> None:
        """Report an event. A text that is too long for it is kept as a blob first."""
        for whole in self.translator.take_wholes(event) or self.agents.take_wholes(event):
            if self.blob_folder:
                await keep_blob(self.blob_folder, blob_of(whole))
        await self.sink.emit(event)
