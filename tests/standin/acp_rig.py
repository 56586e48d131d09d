"""What the tests of the ACP driver share: a stand-in agent, an empty home and workspace, drivers that are closed."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson
import trio

from bridgehub.agents.acp.driver import AcpDriver, make_driver
from bridgehub.agents.base import TurnEnd
from bridgehub.protocol.messages import Decided, HubSpec, Prompt
from bridgehub.trust.finding import Findings
from tests.standin.rig import TURN_S, Asked, RecordingSink

__all__ = ["AGENT", "AcpRig", "AcpSink", "agent_command", "deciding", "open_acp_rig"]


AGENT = Path(__file__).with_name("acp_agent.py")


def agent_command(folder: Path) -> list[str]:
    """Return the command of the stand-in; its conversations lie in `folder`."""
    return [sys.executable, "-I", str(AGENT), str(folder)]


@attrs.define(eq=False)
class AcpSink(RecordingSink):
    """A recording sink whose ids are unlike those of any other. `trust_options`: of the last question of trust."""

    trust_options: tuple[str, ...] = ()

    def new_id(self) -> str:
        return uuid.uuid4().hex

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        self.trust_options = options
        return await super().ask_trust(agent, found, options, task_id=task_id)

    @property
    def asked(self) -> list[Asked]:
        """The questions that came."""
        return self.of(Asked)


def deciding(decision: Any, **fields: Any) -> AcpSink:
    """Return a sink that answers every question by that."""
    return AcpSink(decide=lambda asked: Decided("request", decision, **fields))


@attrs.define(eq=False)
class AcpRig:
    """A home, a workspace, and drivers on them that are closed at the end. `command`: None starts the stand-in."""

    home: Path
    workspace: Path
    hub_id: str
    env: dict[str, str] = attrs.field(factory=lambda: {"PATH": "/usr/bin:/bin"})
    command: list[str] | None = None
    limit_s: float = TURN_S
    drivers: list[AcpDriver] = attrs.field(factory=list)
    turns: int = 0

    def driver(self, standin: dict[str, Any] | None = None, **changes: Any) -> AcpDriver:
        """Make a driver; `standin`: what the agent cannot, and how it misbehaves."""
        env = {**self.env, "ACP_STANDIN": orjson.dumps(standin or {}).decode()}
        options = {"command": self.command or agent_command(self.home)} | changes.pop("options", {})
        spec = HubSpec(
            hub_id=self.hub_id,
            session_id="session-1",
            agent="standin",
            kind="acp",
            folder=str(self.home),
            socket=str(self.home / "hub.sock"),
            workspace=str(self.workspace),
            env=env,
            options=options,
            agent_session_id=self.hub_id,
            blob_folder=str(self.home / "blobs"),
        )
        driver = make_driver(attrs.evolve(spec, **changes))
        self.drivers.append(driver)
        return driver

    def prompt(self, content: str, **changes: Any) -> Prompt:
        """Make the next prompt."""
        self.turns += 1
        prompt = Prompt(f"turn-{self.turns}", f"message-{self.turns}", content, self.turns - 1)
        return attrs.evolve(prompt, **changes)

    async def turn(
        self, driver: AcpDriver, content: str, sink: AcpSink | None = None, **changes: Any
    ) -> tuple[TurnEnd, AcpSink]:
        """Run one turn to its end."""
        sink = sink or AcpSink()
        with trio.fail_after(self.limit_s):
            return await driver.run_turn(self.prompt(content, **changes), sink), sink

    async def interrupted(
        self, driver: AcpDriver, content: str, sink: AcpSink, when: Callable[[RecordingSink], bool]
    ) -> TurnEnd:
        """Run one turn that is interrupted as soon as the record satisfies `when`; return its end."""
        ends: list[TurnEnd] = []

        async def run() -> None:
            ends.append((await self.turn(driver, content, sink))[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await sink.until(when, self.limit_s)
            await driver.interrupt()
        return ends[0]

    def had(self) -> dict[str, Any]:
        """Return the blocks of the agent's last prompt, and its MCP servers."""
        told: dict[str, Any] = orjson.loads((self.home / "prompt.json").read_bytes())
        return told


@asynccontextmanager
async def open_acp_rig(folder: Path) -> AsyncIterator[AcpRig]:
    """Open a rig below `folder`; its drivers end with the block."""
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir()
    workspace.mkdir()
    rig = AcpRig(home, workspace.resolve(), uuid.uuid4().hex)
    try:
        yield rig
    finally:
        with trio.move_on_after(TURN_S, shield=True):  # else a program would outlive its test
            for driver in rig.drivers:
                await driver.aclose()
