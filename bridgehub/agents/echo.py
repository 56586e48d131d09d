"""The `echo` agent (PROTOCOL section 6), for trying out clients, for tests and for benchmarks. Needs no account."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import attrs
import trio

from bridgehub.agents.base import Sink, Tell
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.events import (
    AgentOffered,
    Consumed,
    Gauged,
    PlanChanged,
    SettingsTold,
    TaskBegan,
    TaskEnded,
    TaskProgressed,
    TextPiece,
    TurnDone,
)
from bridgehub.protocol.hub_spec import HubSpec, Setup
from bridgehub.protocol.messages import Decided, Prompt, Steer

__all__ = ["EchoDriver", "PracticeSink", "make_driver"]

CRASH_STATUS = 70
"""Exit status of a hub that executed `/crash`."""

_SETTLE_S = 1.0
"""How long a crash waits until `Consumed` is acknowledged, so that the outcome of its message is known, seconds."""

_PIECES_A_TURN_OF_THE_LOOP = 256
"""Pieces between two checkpoints at full speed. They leave as one line."""

_BIG_PIECE = 256 * 1024
"""Letters of one piece of `/big`: the limit of a frame's text as JSON."""

WINDOW = 10_000
"""Tokens that its pretended context holds."""

PLAN_S = 1.0
"""How long each step of `/todo` takes, seconds."""

ASK, PLAN, BYPASS = "ask", "plan", "bypass"
MODEL, EFFORT = "echo-1", "medium"
"""Values for a session that sets none; the mode is then `ASK`."""

OFFER: dict[str, Any] = {
    "models": [
        {"id": "echo-1", "name": "Echo 1", "description": "Says what it hears.",
         "efforts": ["low", "medium", "high"], "default": True},
        {"id": "echo-2", "name": "Echo 2", "description": "Says the same.", "efforts": ["low", "medium", "high"]},
    ],
    "modes": [
        {"id": ASK, "kind": "ask", "name": "Ask", "description": "Asks before it practises."},
        {"id": "edits", "kind": "edits", "name": "Accept edits", "description": "Would edit files without asking."},
        {"id": PLAN, "kind": "plan", "name": "Plan", "description": "Plans, and changes nothing."},
        {"id": "auto", "kind": "auto", "name": "Auto", "description": "Would judge by itself."},
        {"id": BYPASS, "kind": "bypass", "name": "Never ask", "description": "Practises without asking."},
    ],
    "commands": [
        {"name": "ask", "description": "Ask permission for a practice tool.", "argument_hint": "TEXT"},
        {"name": "plan", "description": "Ask for approval of a plan.", "argument_hint": "TEXT"},
        {"name": "todo", "description": "Work through a list.", "argument_hint": "A, B"},
    ],
    "mcp_servers": [],
    "applies": {"model": "now", "permission_mode": "now", "effort": "now"},
    "can": ["images", "pdf", "compact", "fork"],
}  # fmt: skip
"""What it offers: something of each kind."""

PRACTICE_CHARS = 100
"""Code points of `/ask`'s text that the title of its request shows."""

_SECONDS = re.compile(r"\d{1,6}(\.\d{1,3})?")

_DIRECTIVE = re.compile(r"/(words|clock) (\d{1,9})(?: (\d{1,9}(?:\.\d{1,9})?))?|/(big) (\d{1,12})")


class PracticeSink(Sink, Protocol):
    """What the directives that fail on purpose need, besides a driver's usual `Sink`."""

    async def settle(self) -> None:
        """Wait until the server has acknowledged all events."""
        ...

    async def corrupt(self, line: bytes) -> None:
        """Send the server a line that is not part of the protocol."""
        ...


def _monotonic_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@attrs.define(eq=False)
class _Answer:
    """Writes the pieces of a turn's answer."""

    turn_id: str
    sink: PracticeSink
    block: str

    async def say(self, text: str) -> None:
        if text:
            await self.sink.emit(TextPiece(self.turn_id, "text", self.block, text))

    async def say_paced(self, texts: Iterable[str], pace_s: float) -> None:
        """Write text number i at i times `pace_s` after the first. Each text is made at the moment when it leaves."""
        source = iter(texts)
        number = 0
        await trio.lowlevel.checkpoint()
        start = trio.current_time()  # nothing may delay the first text after this line
        while True:
            due = start + number * pace_s
            if pace_s > 0 and due > trio.current_time():
                await trio.sleep_until(due)
            elif number and number % _PIECES_A_TURN_OF_THE_LOOP == 0:
                await trio.lowlevel.checkpoint()
            text = next(source, None)
            if text is None:
                return
            await self.say(text)
            number += 1


@attrs.define(eq=False)
class EchoDriver:
    """One practice conversation. It keeps only its settings: `taken_before` is the number of earlier messages."""

    clock_us: Callable[[], int] = _monotonic_us
    can_steer: bool = False
    allow_bypass: bool = False
    setup: Setup = attrs.field(factory=Setup)
    turns: int = 0
    _scope: trio.CancelScope | None = None
    _background: dict[str, float] = attrs.field(factory=dict)
    """When each background task ends, by `current_time`."""
    _wakes: int = 0
    """Number of ended background tasks that have not woken the agent yet."""
    _background_changed: trio.Event = attrs.field(factory=trio.Event)

    async def run_turn(self, prompt: Prompt, sink: PracticeSink) -> TurnDone:
        """Take the prompt, answer it, and return."""
        with trio.CancelScope() as self._scope:
            await sink.emit(AgentOffered(None, OFFER))
            await self._set_up(prompt.setup or self.setup, sink.emit)
            await sink.emit(Consumed(prompt.turn_id))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_all, sink.emit)
                await self._answer(prompt, _Answer(prompt.turn_id, sink, sink.new_id()))
                nursery.cancel_scope.cancel(reason="the turn is over")
        return TurnDone(prompt.turn_id)

    async def configure(self, setup: Setup, tell: Tell) -> None:
        """Apply the settings at once."""
        await tell(AgentOffered(None, OFFER))
        await self._set_up(setup, tell)

    async def _set_up(self, setup: Setup, tell: Tell) -> None:
        if setup.permission_mode == BYPASS and not self.allow_bypass:
            mode = self.setup.permission_mode
            setup = attrs.evolve(setup, permission_mode=mode)
            await tell(SettingsTold(None, {"permission_mode": mode}, "echo may not work without asking"))
        self.setup = setup

    async def wait_own_work(self, tell: Tell) -> None:
        """Wait for the end of a background task, which wakes the agent."""
        while not self._wakes:
            await self._end_next(tell)
        await trio.lowlevel.checkpoint()

    async def run_own_turn(self, turn_id: str, sink: Sink) -> TurnDone:
        """Report that the agent woke up."""
        self._wakes -= 1
        with trio.CancelScope() as self._scope:
            await sink.emit(TextPiece(turn_id, "text", sink.new_id(), "woken"))
        return TurnDone(turn_id)

    async def stop_task(self, task_id: str, tell: Tell) -> None:
        """End a background task early."""
        if self._background.pop(task_id, None) is not None:
            await tell(TaskEnded(None, task_id, "cancelled"))
        self._background_changed.set()
        await trio.lowlevel.checkpoint()

    async def _end_next(self, tell: Tell) -> None:
        """Wait for the end of the next background task, or for a change of the tasks, and report it."""
        self._background_changed = trio.Event()
        task_id = min(self._background, key=self._background.__getitem__, default=None)
        due = math.inf if task_id is None else self._background[task_id]
        with trio.move_on_at(due) as waited:
            await self._background_changed.wait()
        if task_id is not None and waited.cancelled_caught:
            await tell(TaskEnded(None, task_id, "succeeded", "done"))
            del self._background[task_id]
            self._wakes += 1

    async def _end_all(self, tell: Tell) -> None:
        while True:
            await self._end_next(tell)

    async def after_turn(self, tell: Tell) -> None:
        """Report a practice gauge: a hundred tokens for each turn."""
        self.turns += 1
        used = min(100 * self.turns, WINDOW)
        await tell(Gauged(None, {"context": {"used": used, "window": WINDOW}, "cost_usd": 0.0}))

    async def steer(self, steer: Steer) -> bool:
        """Refuse: an echo cannot take more into its answer."""
        await trio.lowlevel.checkpoint()
        return False

    async def interrupt(self) -> None:
        """Stop the answer at once."""
        if self._scope is not None:
            self._scope.cancel(reason="interrupted")
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Do nothing: there is no process to end."""
        await trio.lowlevel.checkpoint()

    async def _answer(self, prompt: Prompt, answer: _Answer) -> None:
        word, _, rest = prompt.content.partition(" ")
        match word:
            case "/turns" if not rest:
                await answer.say(f"turns={prompt.taken_before + 1}")
            case "/crash" if not rest:
                with trio.move_on_after(_SETTLE_S):
                    await answer.sink.settle()
                os._exit(CRASH_STATUS)
            case "/hang" if not rest:
                await answer.sink.work_saved()
                await trio.sleep_forever()
            case "/garbage" if not rest:
                await answer.sink.corrupt(b"this line is no protocol\n")
                await trio.sleep_forever()
            case "/ask" if rest:
                await self._practise(rest, answer)
            case "/plan" if rest:
                await self._plan(rest, answer)
            case "/todo" if rest:
                await _work_through(rest, answer)
            case "/settings" if not rest:
                await answer.say(_told_settings(self.setup))
            case "/background" if _SECONDS.fullmatch(rest):
                await self._begin_in_background(float(rest), answer)
            case "/task" if rest:
                await _run_task(rest, answer)
            case _:
                await self._stream(prompt.content, answer)

    async def _practise(self, text: str, answer: _Answer) -> None:
        await answer.sink.work_saved()
        if self.setup.permission_mode == BYPASS:
            await answer.say("allowed")
            return
        words = RequestWords(
            "other", f"Practise: {text[:PRACTICE_CHARS]}", modes=(BYPASS,), editable=("text",)
        )
        decided = await answer.sink.ask("practice", {"text": text}, grant=f"practise {text}", words=words)
        await answer.say("allowed" if _is_yes(decided) else "denied")

    async def _plan(self, text: str, answer: _Answer) -> None:
        await answer.sink.work_saved()
        words = RequestWords("plan", "Carry out the plan", editable=("plan",))
        decided = await answer.sink.ask("plan", {"plan": text}, words=words)
        if not _is_yes(decided):
            await answer.say(f"denied: {decided.note}" if decided.note else "denied")
            return
        changed = decided.input if isinstance(decided.input, dict) else {}
        if decided.mode is None and self.setup.permission_mode == PLAN:
            self.setup = attrs.evolve(self.setup, permission_mode=ASK)
            await answer.sink.emit(SettingsTold(answer.turn_id, {"permission_mode": ASK}))
        await answer.say(f"approved: {changed.get('plan', text)}")

    async def _begin_in_background(self, seconds: float, answer: _Answer) -> None:
        task_id = answer.sink.new_id()
        title = f"Wait {seconds:g} s"
        await answer.sink.emit(TaskBegan(answer.turn_id, task_id, title, "echo", background=True))
        self._background[task_id] = trio.current_time() + seconds
        self._background_changed.set()
        await answer.say("started")

    async def _stream(self, content: str, answer: _Answer) -> None:
        directive = _DIRECTIVE.fullmatch(content)
        if directive is None:
            await answer.say("echo: ")
            await answer.say_paced((f"{word} " for word in content.split()), 0)
        elif directive[4]:
            await answer.say_paced(_big(int(directive[5])), 0)
        else:
            count, pace_s = int(directive[2]), float(directive[3] or 0) / 1000
            clock = self.clock_us
            if directive[1] == "words":
                await answer.say_paced((f"w{i} " for i in range(count)), pace_s)
            else:
                await answer.say_paced((f"{clock()} " for _ in range(count)), pace_s)


def _is_yes(decided: Decided) -> bool:
    return decided.decision in ("allow", "allow_session")


def _told_settings(setup: Setup) -> str:
    model, mode, effort = setup.model or MODEL, setup.permission_mode or ASK, setup.effort or EFFORT
    return f"model={model} mode={mode} effort={effort}"


def _big(count: int) -> Iterable[str]:
    for start in range(0, count, _BIG_PIECE):
        yield "x" * min(_BIG_PIECE, count - start)


async def _work_through(text: str, answer: _Answer) -> None:
    """Report a to-do list, then each step of working through it. A step takes as long as two lists must lie apart."""
    items = [one.strip() for one in text.split(",") if one.strip()]
    for done in range(-1, len(items) + 1):
        states = [
            "completed" if n < done else "in_progress" if n == done else "pending" for n in range(len(items))
        ]
        entries = tuple({"content": one, "status": state} for one, state in zip(items, states, strict=True))
        await answer.sink.emit(PlanChanged(answer.turn_id, entries))
        if done < len(items):
            await trio.sleep(PLAN_S)
    await answer.say("done")


async def _run_task(title: str, answer: _Answer) -> None:
    sink, turn_id, task_id = answer.sink, answer.turn_id, answer.sink.new_id()
    await sink.emit(TaskBegan(turn_id, task_id, title, "echo"))
    for step in (1, 2, 3):
        await sink.emit(TaskProgressed(turn_id, task_id, f"step {step} of 3"))
    await sink.emit(TaskEnded(turn_id, task_id, "succeeded", "done"))
    await answer.say("done")


def make_driver(spec: HubSpec) -> EchoDriver:
    """Return the driver."""
    bypass = spec.options.get("allow_bypass") is True
    return EchoDriver(allow_bypass=bypass, setup=Setup.of_spec(spec))
