"""What the tests of the ACP driver share: a stand-in agent, an empty home and workspace, drivers that are closed."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import orjson

from bridgehub.agents.acp.driver import AcpDriver, make_driver
from bridgehub.protocol.messages import Decided
from bridgehub.trust.finding import Findings
from tests.standin.driver_rig import DriverRig, make_folders
from tests.standin.rig import Asked, RecordingSink

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


@attrs.define(eq=False, kw_only=True)
class AcpRig(DriverRig[AcpDriver, AcpSink]):
    """Drivers of the stand-in agent. `command`: None starts the stand-in; `start_s`: how long a start may take."""

    env: dict[str, str] = attrs.field(factory=lambda: {"PATH": "/usr/bin:/bin"})
    command: list[str] | None = None
    start_s: float = 45.0

    def sink(self) -> AcpSink:
        """Return a new sink."""
        return AcpSink()

    def driver(self, standin: dict[str, Any] | None = None, **changes: Any) -> AcpDriver:
        """Make a driver; `standin`: what the agent cannot, and how it misbehaves."""
        env = {**self.env, "ACP_STANDIN": orjson.dumps(standin or {}).decode()}
        options = {"command": self.command or agent_command(self.home)} | changes.pop("options", {})
        changes = {
            "agent": "standin",
            "blob_folder": str(self.home / "blobs"),
            "start_s": self.start_s,
        } | changes
        return self.keep(make_driver(self.base_spec("acp", env, options, **changes)))

    def had(self) -> dict[str, Any]:
        """Return the blocks of the agent's last prompt, and its MCP servers."""
        told: dict[str, Any] = orjson.loads((self.home / "prompt.json").read_bytes())
        return told


@asynccontextmanager
async def open_acp_rig(folder: Path) -> AsyncIterator[AcpRig]:
    """Open a rig below `folder`; its drivers end with the block."""
    home, workspace = make_folders(folder)
    rig = AcpRig(home=home, workspace=workspace.resolve(), hub_id=uuid.uuid4().hex)
    async with rig.closing():
        yield rig
