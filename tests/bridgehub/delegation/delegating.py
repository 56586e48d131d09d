"""Agents that hand work to each other inside one hub, played by functions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

from bridgehub.agents.base import Sink, TurnEnd
from bridgehub.agents.echo import EchoDriver
from bridgehub.agents.registry import AgentMissing
from bridgehub.delegation.mcp import open_codex_turn
from bridgehub.delegation.tasks import Delegation, TaskResult
from bridgehub.protocol.events import Consumed, TextPiece, TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import DelegateSpec, HubSpec
from bridgehub.protocol.messages import Prompt
from tests.bridgehub.hub_harness import make_spec
from tests.standin.rig import RecordingSink

__all__ = ["Cast", "delegating_spec", "hand_out", "hang", "passes_on", "rest", "says"]


Play = Callable[[Prompt, Sink, Delegation], Awaitable[object]]


@attrs.define(eq=False)
class Delegating:
    """A driver that may hand work out; its turn is a function of the test's."""

    delegation: Delegation
    play: Play
    can_steer: bool = False
    was_closed: bool = False

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        await sink.emit(Consumed(prompt.turn_id))
        async with open_codex_turn(self.delegation, prompt.turn_id, sink):
            end = await self.play(prompt, sink, self.delegation)
        return end if isinstance(end, TurnFailed) else TurnDone(prompt.turn_id)

    async def configure(self, setup: object, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def after_turn(self, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def steer(self, steer: object) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def interrupt(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.was_closed = True
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Cast:
    """Makes drivers by the agents' names, and keeps them with their specs."""

    plays: dict[str, Play]
    made: list[tuple[HubSpec, Delegating]] = attrs.field(factory=list)

    def make(self, spec: HubSpec) -> Any:
        if spec.agent == "absent":
            raise AgentMissing("it is not there")
        if spec.agent == "echo":
            return EchoDriver()
        driver = Delegating(Delegation(spec, self.make), self.plays[spec.agent])
        self.made.append((spec, driver))
        return driver

    def delegation(self, folder: Path, **changes: Any) -> Delegation:
        return Delegation(delegating_spec(folder, *self.plays, **changes), self.make)


def delegating_spec(folder: Path, *names: str, **changes: Any) -> HubSpec:
    delegates = {
        name: DelegateSpec("test", {"of": name}, {"NAME": name}) for name in ("echo", "absent", *names)
    }
    return attrs.evolve(make_spec(folder, agent="main"), **({"delegates": delegates} | changes))


async def hand_out(
    cast: Cast, folder: Path, *calls: tuple[str, ...], **changes: Any
) -> tuple[list[TaskResult], RecordingSink]:
    """Hand work out in one turn, one after the other."""
    sink, delegation = RecordingSink(), cast.delegation(folder, **changes)
    with trio.fail_after(40):
        async with delegation.open_turn("t1", sink):
            told = [await delegation.new_task(*call) for call in calls]
    return told, sink


def says(text: str) -> Play:
    async def play(prompt: Prompt, sink: Sink, _: Delegation) -> None:
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", text))

    return play


async def hang(prompt: Prompt, sink: Sink, _: Delegation) -> None:
    await sink.emit(TextPiece(prompt.turn_id, "text", "b", "I hang"))
    await trio.sleep_forever()


async def rest(*_: object) -> None:
    await trio.lowlevel.checkpoint()


def passes_on(agent: str) -> Play:
    async def play(prompt: Prompt, sink: Sink, delegation: Delegation) -> None:
        told = await delegation.new_task(agent, f"from {prompt.content}")
        await sink.emit(TextPiece(prompt.turn_id, "text", "b", f"[{told.text}]"))

    return play
