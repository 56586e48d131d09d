"""What the rigs of all drivers share: a home, a workspace, and drivers on them that are closed at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import attrs
import trio

from bridgehub.agents.base import AgentDriver, Sink, TurnEnd
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Prompt

__all__ = ["TURN_S", "DriverRig", "make_folders"]

TURN_S = 30.0
"""A turn of a test takes about 50 ms, with the start of the program under a second."""


class WatchedSink(Sink, Protocol):
    """A sink whose record can be waited for."""

    async def until(self, seen: Callable[[Any], bool], limit_s: float = TURN_S) -> None:
        """Wait until the record satisfies `seen`."""
        ...


D = TypeVar("D", bound=AgentDriver)
S = TypeVar("S", bound=WatchedSink)


def make_folders(folder: Path) -> tuple[Path, Path]:
    """Make an empty home and an empty workspace below `folder`."""
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir()
    workspace.mkdir()
    return home, workspace


@attrs.define(eq=False, kw_only=True)
class DriverRig(ABC, Generic[D, S]):
    """Makes drivers of one kind and runs turns on them. `limit_s`: how long a turn may take."""

    home: Path
    workspace: Path
    hub_id: str
    limit_s: float = TURN_S
    drivers: list[D] = attrs.field(factory=list)
    turns: int = 0
    specs: int = 0

    @abstractmethod
    def sink(self) -> S:
        """Return a new sink."""

    def base_spec(self, kind: str, env: dict[str, str], options: dict[str, Any], **changes: Any) -> HubSpec:
        """Return the spec of a hub of this home and workspace."""
        self.specs += 1
        spec = HubSpec(
            hub_id=self.hub_id,
            session_id="session-1",
            agent=kind,
            kind=kind,
            folder=str(self.home),
            socket=str(self.home / f"hub-{self.specs}.sock"),  # a program that ends removes what is there
            workspace=str(self.workspace),
            env=env,
            options=options,
            agent_session_id=self.hub_id,
        )
        return attrs.evolve(spec, **changes)

    def keep(self, driver: D) -> D:
        """Close this driver at the end; return it."""
        self.drivers.append(driver)
        return driver

    def prompt(self, content: str, **changes: Any) -> Prompt:
        """Make the next prompt."""
        self.turns += 1
        prompt = Prompt(f"turn-{self.turns}", f"message-{self.turns}", content, self.turns - 1)
        return attrs.evolve(prompt, **changes)

    async def turn(self, driver: D, content: str, sink: S | None = None, **changes: Any) -> tuple[TurnEnd, S]:
        """Run one turn to its end; `changes` are of its prompt."""
        sink = sink or self.sink()
        with trio.fail_after(self.limit_s):
            return await driver.run_turn(self.prompt(content, **changes), sink), sink

    async def interrupted(self, driver: D, content: str, sink: S, when: Callable[[Any], bool]) -> TurnEnd:
        """Run one turn that is interrupted as soon as the record satisfies `when`; return its end."""
        ends: list[TurnEnd] = []

        async def run() -> None:
            ends.append((await self.turn(driver, content, sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sink.until(when, self.limit_s)
            await driver.interrupt()
        return ends[0]

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[None]:
        """Close all drivers at the end of the block."""
        try:
            yield
        finally:
            with trio.move_on_after(TURN_S, shield=True):  # else a program would outlive its test
                for driver in self.drivers:
                    await driver.aclose()
