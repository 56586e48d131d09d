"""What the tests of the Codex driver share: an empty home and workspace, drivers of the real program."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import trio

from bridgehub.agents.base import TurnEnd
from bridgehub.agents.codex.driver import CodexDriver, make_driver
from bridgehub.agents.codex.marked import RUN
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.messages import Decided, HubSpec, Prompt
from tests.standin.openai import OpenAIStandIn, codex_env, open_openai
from tests.standin.rig import TURN_S, Asked, RecordingSink

__all__ = ["CodexRig", "CodexSink", "deciding", "open_codex_rig"]

MODEL = "gpt-5.5"
"""A model that the program knows: only then it offers its `apply_patch` tool."""


@attrs.define(eq=False)
class CodexSink(RecordingSink):
    """A recording sink whose ids are unlike those of any other, and that keeps the grants it was asked for."""

    grants: list[str | None] = attrs.field(factory=list)

    async def ask(
        self,
        tool: str,
        tool_input: object,
        questions: object = None,
        *,
        grant: str | None = None,
        task_id: str | None = None,
        words: RequestWords | None = None,
    ) -> Decided:
        self.grants.append(grant)
        return await super().ask(tool, tool_input, questions, grant=grant, task_id=task_id, words=words)

    def new_id(self) -> str:
        return uuid.uuid4().hex

    @property
    def asked(self) -> list[Asked]:
        """The questions that came."""
        return self.of(Asked)


def deciding(decision: Any, **fields: Any) -> CodexSink:
    """Return a sink that answers every question by that."""
    return CodexSink(decide=lambda asked: Decided("request", decision, **fields))


@attrs.define(eq=False)
class CodexRig:
    """A stand-in, an empty home, a workspace, and drivers on them that are closed at the end."""

    standin: OpenAIStandIn
    home: Path
    workspace: Path
    hub_id: str
    drivers: list[CodexDriver] = attrs.field(factory=list)
    turns: int = 0

    def spec(self, *, more: str = "", **changes: Any) -> HubSpec:
        """Return a hub's spec; `env` is added to the stand-in's, `more` to the provider's configuration."""
        env = codex_env(self.standin.url, str(self.home), more) | changes.pop("env", {})
        options = {"approval": "untrusted", "sandbox": "workspace-write"} | changes.pop("options", {})
        spec = HubSpec(
            hub_id=self.hub_id,
            session_id="session-1",
            agent="codex",
            kind="codex",
            folder=str(self.home),
            socket=str(self.home / "hub.sock"),
            workspace=str(self.workspace),
            env=env,
            options=options,
            agent_session_id=self.hub_id,
            model=MODEL,
            blob_folder=str(self.home / "blobs"),
        )
        return attrs.evolve(spec, **changes)

    def driver(self, **changes: Any) -> CodexDriver:
        """Make a driver."""
        driver = make_driver(self.spec(**changes))
        self.drivers.append(driver)
        return driver

    def prompt(self, content: str, **changes: Any) -> Prompt:
        """Make the next prompt."""
        self.turns += 1
        prompt = Prompt(f"turn-{self.turns}", f"message-{self.turns}", content, self.turns - 1)
        return attrs.evolve(prompt, **changes)

    async def turn(
        self, driver: CodexDriver, content: str, sink: CodexSink | None = None, **changes: Any
    ) -> tuple[TurnEnd, CodexSink]:
        """Run one turn to its end."""
        sink = sink or CodexSink()
        with trio.fail_after(TURN_S):
            return await driver.run_turn(self.prompt(content, **changes), sink), sink

    def programs(self) -> list[psutil.Process]:
        """Return the running programs of this rig's drivers, and all that they started."""
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(RUN, "").startswith(f"{self.hub_id}/")
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def runs(self, name: str) -> bool:
        """Tell whether a program of that name is among them."""
        for process in self.programs():
            with suppress(psutil.Error, OSError):  # it went while it was looked at
                if process.name() == name:
                    return True
        return False


@asynccontextmanager
async def open_codex_rig(folder: Path) -> AsyncIterator[CodexRig]:
    """Open a rig below `folder`; its drivers end with the block."""
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir()
    workspace.mkdir()
    async with open_openai() as standin:
        rig = CodexRig(standin, home, workspace, uuid.uuid4().hex)
        try:
            yield rig
        finally:
            with trio.move_on_after(TURN_S, shield=True):  # else a program would outlive its test
                for driver in rig.drivers:
                    await driver.aclose()
