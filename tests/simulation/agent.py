"""The agent of a simulated hub: does what the plan says for each message, and notes what it really did."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from bridgehub.agents.base import Sink, Tell, TurnEnd
from bridgehub.agents.echo import PracticeSink
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol import events as hub
from bridgehub.protocol.messages import Decided, Prompt, Steer
from tests.simulation.chaos import Chaos
from tests.simulation.plan import MODES, Does

if TYPE_CHECKING:
    from tests.simulation.hubs import HubProcess

__all__ = ["OWN_BLOCK", "AgentLog", "PlannedDriver", "TakenTurn"]


OWN_BLOCK = "own"
"""The block of what an agent says by itself, in whichever turn that is."""

OWN_TURN_S = 0.5


@attrs.define(eq=False)
class TakenTurn:
    """What one agent did with one prompt. `texts` is by channel and block; `ended` where it came to its end.

    `model`, `mode`: what it was to work with.
    """

    hub_id: str
    message_id: str
    taken_before: int
    model: str | None = None
    mode: str | None = None
    texts: dict[tuple[str, str], str] = attrs.field(factory=dict)
    ended: str | None = None
    asked: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class AgentLog:
    """What reached the agents of one history, as an outsider would have seen it.

    Attributes:
        turns: by turn id; the same turn twice is the one thing that must never be.
        steered: how often each message was steered.
        on_prompt, on_steer, on_decision: called in the moment, to be held against the journal.
    """

    chaos: Chaos
    turns: dict[str, TakenTurn] = attrs.field(factory=dict)
    steered: dict[str, int] = attrs.field(factory=dict)
    on_prompt: Callable[[str, Prompt], None] = lambda session_id, prompt: None
    on_steer: Callable[[str, Steer], None] = lambda session_id, steer: None
    on_decision: Callable[[str, str, Decided], None] = lambda session_id, turn_id, decided: None

    def take(self, process: HubProcess, prompt: Prompt) -> TakenTurn:
        """Note that an agent was given a prompt."""
        self.chaos.note(f"agent {process.hub_id} has {prompt.message_id} of turn {prompt.turn_id}")
        if prompt.turn_id in self.turns:
            self.chaos.complain(f"turn {prompt.turn_id} of {prompt.message_id} reached an agent twice")
        made = TakenTurn(process.hub_id, prompt.message_id, prompt.taken_before)
        if prompt.setup is not None:
            made.model, made.mode = prompt.setup.model, prompt.setup.permission_mode
        self.turns[prompt.turn_id] = made
        self.on_prompt(process.spec.session_id, prompt)
        return made


@attrs.define(eq=False)
class PlannedDriver:
    """See `bridgehub.agents.base.AgentDriver`."""

    process: HubProcess
    log: AgentLog
    can_steer: bool
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _deaf: bool = False
    _background: dict[str, float] = attrs.field(factory=dict)

    async def run_turn(self, prompt: Prompt, sink: PracticeSink) -> TurnEnd:
        """Do what the plan says."""
        if not self.process.alive:
            await trio.sleep_forever()
        turn = self.log.take(self.process, prompt)
        self._deaf = False
        end: TurnEnd = hub.TurnDone(prompt.turn_id)
        script = self.process.script_of(prompt.message_id)
        with trio.CancelScope() as self._scope:  # noqa: ASYNC912 - a script may do nothing that waits
            for number, (what, amount) in enumerate(script):
                self.process.chaos.tick()
                if what == "fail":
                    end = hub.TurnFailed(prompt.turn_id, "model_error", "no", retryable=True)
                else:
                    await self._do(what, amount, turn, prompt, sink, number)
            turn.ended = "failed" if isinstance(end, hub.TurnFailed) else "done"
        return end

    async def _do(
        self, what: str, amount: float, turn: TakenTurn, prompt: Prompt, sink: PracticeSink, number: int
    ) -> None:
        turn_id, name = prompt.turn_id, f"{prompt.turn_id}-{number}"
        match what:
            case "take":
                await sink.emit(hub.Consumed(turn_id))
            case "say" | "think":
                await self._say(what, f"{what}{number} ", turn, turn_id, sink)
            case "ask" | "grant":
                await self._ask(turn, turn_id, sink, grant="all" if what == "grant" else None)
            case "tool":
                await sink.emit(hub.ToolBegan(turn_id, name, "look", {"at": number}))
                await trio.sleep(amount)
                await sink.emit(hub.ToolEnded(turn_id, name, "look", "seen", is_error=False))
            case "task":
                await sink.emit(hub.TaskBegan(turn_id, name, "work", "echo"))
                await trio.sleep(amount)
                await sink.emit(hub.TaskProgressed(turn_id, name, "half"))
                await sink.emit(hub.TaskEnded(turn_id, name, "succeeded", "done"))
            case "background":
                await sink.emit(hub.TaskBegan(turn_id, name, "dig", "echo", background=True))
                self._background[name] = trio.current_time() + amount
            case "slow":
                await trio.sleep(amount)
            case "remember":
                await sink.remember({"turn": turn_id})
            case "history":
                await sink.history(1000)
            case "done":
                pass
            case _:
                await self._misbehave(what, sink)

    async def wait_own_work(self, tell: Tell) -> None:
        """Wait for the end of something in the background: it wakes the agent."""
        if not self._background or not self.process.alive:
            await trio.sleep_forever()
        name = min(self._background, key=self._background.__getitem__)
        await trio.sleep_until(self._background[name])
        await tell(hub.TaskEnded(None, name, "succeeded", "done"))
        del self._background[name]

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnEnd:
        """Say something in a block of its own."""
        self._deaf = False
        with trio.CancelScope() as self._scope:
            self.process.chaos.tick()
            await sink.emit(hub.TextPiece(turn_id, "text", OWN_BLOCK, "woken "))
            await trio.sleep(OWN_TURN_S)
        return hub.TurnDone(turn_id)

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End something in the background."""
        if self._background.pop(task_id, None) is not None:
            await tell(hub.TaskEnded(None, task_id, "cancelled"))

    async def _misbehave(self, what: str, sink: PracticeSink) -> None:
        match what:
            case "hang":
                await trio.sleep_forever()
            case "deaf":
                self._deaf = True
                await trio.sleep_forever()
            case "die":
                self.process.kill()
                await trio.sleep_forever()
            case "garbage":
                self.process.garbled = True
                await sink.corrupt(b"this line is no protocol\n")
                await trio.sleep_forever()
            case "raise":
                raise RuntimeError("the driver broke, as planned")
            case _:
                raise AssertionError(what)

    async def _say(self, what: str, text: str, turn: TakenTurn, turn_id: str, sink: PracticeSink) -> None:
        channel = "text" if what == "say" else "thinking"
        key = ("message" if what == "say" else "thinking", "b")
        turn.texts[key] = turn.texts.get(key, "") + text
        await sink.emit(hub.TextPiece(turn_id, channel, "b", text))  # type: ignore[arg-type]

    async def _ask(self, turn: TakenTurn, turn_id: str, sink: PracticeSink, grant: str | None) -> None:
        words = RequestWords("other", "Practice", modes=MODES[1:])
        decided = await sink.ask("practice", {"of": turn_id}, grant=grant, words=words)
        self.process.chaos.tick()
        turn.asked.append(decided.decision)
        if self.process.alive:
            self.log.on_decision(self.process.spec.session_id, turn_id, decided)
        await self._say("say", f"{decided.decision} ", turn, turn_id, sink)

    async def warm_up(self, prompt: Prompt, sink: Sink) -> None:
        """Begin a conversation, and have it remembered; a third of the starts fails."""
        self.process.chaos.tick()
        await trio.sleep(0.1)
        await sink.remember({"turn": "none yet"})
        if self.process.chaos.plan.seed % 3 == 0:
            raise RuntimeError("the start broke, as planned")

    async def configure(self, setup: object, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def after_turn(self, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def steer(self, steer: Steer) -> bool:
        """Take a message in mid-turn, or not."""
        await trio.lowlevel.checkpoint()
        if not self.process.alive:
            await trio.sleep_forever()
        taken = self.process.chaos.plan.knobs.steer_taken
        if taken:
            self.log.chaos.note(f"agent {self.process.hub_id} has {steer.message_id} steered")
            self.log.steered[steer.message_id] = self.log.steered.get(steer.message_id, 0) + 1
            self.log.on_steer(self.process.spec.session_id, steer)
        return taken

    async def interrupt(self) -> None:
        """Stop, unless deaf."""
        await trio.lowlevel.checkpoint()
        if not self._deaf:
            self._scope.cancel()

    async def aclose(self) -> None:
        """Nothing to end."""
        await trio.lowlevel.checkpoint()


def script_of(scripts: dict[str, tuple[Does, ...]], message_id: str) -> tuple[Does, ...]:
    """Return what an agent does with a message."""
    return scripts.get(message_id, (("take", 0), ("say", 0), ("done", 0)))
