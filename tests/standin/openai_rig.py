"""What the tests of the Codex driver share: an empty home and workspace, drivers of the real program."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil

from bridgehub.agents.codex.driver import CodexDriver, make_driver
from bridgehub.agents.json_rpc.marked import RUN
from bridgehub.agents.request_words import RequestWords
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Decided
from tests.standin.driver_rig import DriverRig, make_folders
from tests.standin.openai import OpenAIStandIn, codex_env, open_openai
from tests.standin.rig import Asked, RecordingSink

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


@attrs.define(eq=False, kw_only=True)
class CodexRig(DriverRig[CodexDriver, CodexSink]):
    """Drivers of the real Codex on a stand-in for its model service."""

    standin: OpenAIStandIn

    def sink(self) -> CodexSink:
        """Return a new sink."""
        return CodexSink()

    def spec(self, *, more: str = "", **changes: Any) -> HubSpec:
        """Return a hub's spec; `env` is added to the stand-in's, `more` to the provider's configuration."""
        env = codex_env(self.standin.url, str(self.home), more) | changes.pop("env", {})
        options = {"approval": "untrusted", "sandbox": "workspace-write"} | changes.pop("options", {})
        changes = {"model": MODEL, "blob_folder": str(self.home / "blobs")} | changes
        return self.base_spec("codex", env, options, **changes)

    def driver(self, **changes: Any) -> CodexDriver:
        """Make a driver."""
        return self.keep(make_driver(self.spec(**changes)))

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

    def main_program(self) -> int:
        """Return the process ID of the program that a driver started: the oldest that runs."""
        return int(min(self.programs(), key=psutil.Process.create_time).pid)

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
    home, workspace = make_folders(folder)
    async with open_openai() as standin:
        rig = CodexRig(standin=standin, home=home, workspace=workspace, hub_id=uuid.uuid4().hex)
        async with rig.closing():
            yield rig
