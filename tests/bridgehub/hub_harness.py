"""A hub in the test's own process, on a real socket, with a driver and limits of the test's choice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from actors.hubs.link import SocketHubLink, open_link
from bridgehub.agents.base import AgentDriver, Sink, TurnEnd
from bridgehub.agents.registry import make_driver
from bridgehub.hub import Hub, HubLimits
from bridgehub.protocol.events import (
    AgentOffered,
    Consumed,
    Gauged,
    TextPiece,
    ToolsPrinted,
    TurnDone,
    TurnFailed,
    TurnStopped,
)
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import VERSION, Ack, Hello, Prompt, Reported, Steer

__all__ = [
    "ENDS",
    "OpenHub",
    "Reader",
    "ScriptedDriver",
    "make_spec",
    "open_hub",
    "prompt",
    "text_of",
    "until",
]

ENDS = (TurnDone, TurnFailed, TurnStopped)
LIMIT_S = 40.0
_NEWEST = (AgentOffered, Gauged, ToolsPrinted)


def make_spec(folder: Path, hub_id: str = "hub1", **changes: object) -> HubSpec:
    spec = HubSpec(
        hub_id=hub_id,
        session_id="trip",
        agent="echo",
        kind="echo",
        folder=str(folder),
        socket=str(folder / "s"),
        workspace="/",
        env={"PATH": "/usr/bin:/bin", "GREETING": "hello"},
        options={},
        agent_session_id="a-1",
    )
    return attrs.evolve(spec, **changes)  # type: ignore[arg-type]


def prompt(turn_id: str, content: str, taken_before: int = 0) -> Prompt:
    return Prompt(turn_id, f"m-{turn_id}", content, taken_before)


def text_of(events: Sequence[Reported]) -> str:
    return "".join(item.event.text for item in events if isinstance(item.event, TextPiece))


async def until(predicate: Callable[[], bool]) -> None:
    """Look every few milliseconds for what another process does, up to a limit."""
    with trio.fail_after(LIMIT_S):
        while True:
            if predicate():
                return
            await trio.sleep(0.005)


@attrs.define(eq=False)
class Reader:
    """A server's view of one hub over its links: every event once and in order, or the test fails."""

    link: SocketHubLink
    position: int = 0
    acks: bool = True
    events: list[Reported] = attrs.field(factory=list)
    newest: list[Reported] = attrs.field(factory=list)

    async def read(self) -> list[Reported]:
        """Take one batch."""
        batch = list(await self.link.receive())
        for item in batch:
            assert item.first_seq == self.position + 1, "a gap, or an event came twice"
            self.position = item.seq
        self.newest += [item for item in batch if isinstance(item.event, _NEWEST)]
        batch = [item for item in batch if not isinstance(item.event, _NEWEST)]
        self.events += batch
        if self.acks:
            await self.link.send(Ack(self.position))
        return batch

    async def read_until(self, *kinds: type) -> list[Reported]:
        """Take batches until an event of one of `kinds` has come; return what came."""
        found: list[Reported] = []
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has it
            while not any(isinstance(item.event, kinds) for item in found):
                found += await self.read()
        return found

    async def turn(self, turn_id: str, content: str, taken_before: int = 0) -> list[Reported]:
        """Send a prompt and read its turn."""
        await self.link.send(prompt(turn_id, content, taken_before))
        return await self.read_until(*ENDS)


@attrs.define(eq=False)
class OpenHub:
    """A hub that runs, and the way to it."""

    hub: Hub
    over: trio.Event
    links: list[SocketHubLink] = attrs.field(factory=list)

    async def connect(
        self, *, owner_epoch: int = 1, last_seq: int = 0, version: int = VERSION, session: str = "trip"
    ) -> SocketHubLink:
        hello = Hello(version, session, owner_epoch, last_seq)
        self.links.append(await open_link(self.hub.spec.socket, hello))
        return self.links[-1]

    async def reader(self, owner_epoch: int = 1) -> Reader:
        return Reader(await self.connect(owner_epoch=owner_epoch))


@asynccontextmanager
async def open_hub(
    folder: Path,
    make: Callable[[HubSpec], AgentDriver] = make_driver,
    limits: HubLimits | None = None,
    **changes: object,
) -> AsyncIterator[OpenHub]:
    """Run a hub while inside the block. It kills no process: the test's own are its neighbours."""
    spec = attrs.evolve(make_spec(folder), **changes)  # type: ignore[arg-type]
    raw = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await raw.bind(spec.socket)
    raw.listen(16)
    opened = OpenHub(Hub(spec, limits or HubLimits(), make, kill_below=lambda hub_id: None), trio.Event())

    async def live() -> None:
        await opened.hub.run(trio.SocketListener(raw))
        opened.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        try:
            with trio.fail_after(60):
                yield opened
        finally:
            opened.hub.ending.set()
            for link in opened.links:
                link._stream.socket.close()


@attrs.define(eq=False)
class ScriptedDriver:
    """A driver whose turns are a function of the test's."""

    play: Callable[[Prompt, Sink], object]
    can_steer: bool = False
    was_closed: trio.Event = attrs.field(factory=trio.Event)
    interrupts: int = 0
    takes_steers: bool = True
    steered: list[Steer] = attrs.field(factory=list)

    async def run_turn(self, prompt: Prompt, sink: Sink) -> TurnEnd:
        await sink.emit(Consumed(prompt.turn_id))
        await self.play(prompt, sink)  # type: ignore[misc]
        return TurnDone(prompt.turn_id)

    async def configure(self, setup: object, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def after_turn(self, tell: object) -> None:
        await trio.lowlevel.checkpoint()

    async def steer(self, steer: Steer) -> bool:
        self.steered.append(steer)
        await trio.lowlevel.checkpoint()
        return self.takes_steers

    async def interrupt(self) -> None:
        self.interrupts += 1
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.was_closed.set()
        await trio.lowlevel.checkpoint()
