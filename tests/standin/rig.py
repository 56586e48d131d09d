"""What driver tests share: a recording sink, an empty home and workspace, drivers of the real program."""

from __future__ import annotations

import gc
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
import psutil
import trio

from bridgehub.agents.claude.driver import ClaudeDriver, make_driver
from bridgehub.agents.request_words import RequestWords, plain_words
from bridgehub.protocol.events import AgentOffered, Gauged, HubEvent, TextPiece, ToolsPrinted
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Decided, History
from bridgehub.trust.finding import Findings
from tests.standin.anthropic import StandIn, open_standin, standin_env
from tests.standin.driver_rig import TURN_S, DriverRig, make_folders

__all__ = [
    "SDK_DROPS_GENERATORS",
    "Asked",
    "ClaudeRig",
    "RecordingSink",
    "eventually",
    "open_rig",
    "program_pids",
    "stopped_at_its_start",
]

E = TypeVar("E")

POLL_S = 0.01
"""How often something outside this process, which gives no event, is looked at."""

SDK_DROPS_GENERATORS = "ignore:Async generator 'claude_agent_sdk:ResourceWarning"
"""For `filterwarnings`: the SDK may drop a generator half read when it disconnects or cannot parse.

Trio closes it and warns; nothing outside the SDK could have closed it before.
"""


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something outside this process holds; fail after `TURN_S`."""
    with trio.fail_after(TURN_S):
        await trio.lowlevel.checkpoint()
        while not holds():  # noqa: ASYNC110 -- nobody could set an event
            await trio.sleep(POLL_S)


@attrs.frozen
class Asked:
    """A question that reached the sink."""

    tool: str
    tool_input: Any
    questions: Any
    grant: str | None = None
    task_id: str | None = None
    words: RequestWords | None = attrs.field(default=None, eq=False)


@attrs.define(eq=False)
class RecordingSink:
    """Keeps what is reported, in order; answers questions by `decide`, or never if that is None."""

    decide: Callable[[Asked], Decided] | None = None
    events: list[HubEvent | Asked] = attrs.field(factory=list)
    newest: dict[type[HubEvent], HubEvent] = attrs.field(factory=dict)
    withdrawn: int = 0
    wanted_bytes: int = 0
    past: History = attrs.field(factory=lambda: History("", ()))
    memory: dict[str, Any] = attrs.field(factory=dict)
    saved: trio.Event | None = None
    waits_for_save: bool = False
    _news: trio.Event = attrs.field(factory=trio.Event)
    _ids: int = 0

    async def emit(self, event: HubEvent) -> None:
        await trio.lowlevel.checkpoint()
        if isinstance(event, AgentOffered | Gauged | ToolsPrinted):
            self.newest[type(event)] = event
            self._wake()
        else:
            self._note(event)

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
        words = words or plain_words(tool, tool_input, questions)
        asked = Asked(tool, tool_input, questions, grant, task_id, words)
        self._note(asked)
        if self.decide is not None:
            await trio.lowlevel.checkpoint()
            return self.decide(asked)
        try:
            await trio.sleep_forever()
        finally:
            self.withdrawn += 1

    async def tell_withdrawn(self) -> None:
        await trio.lowlevel.checkpoint()

    async def ask_trust(
        self, agent: str, found: Findings, options: tuple[str, ...], *, task_id: str | None = None
    ) -> Decided:
        return await self.ask("trust", found.told(agent), task_id=task_id)

    async def history(self, limit_bytes: int) -> History:
        self.wanted_bytes = limit_bytes
        await trio.lowlevel.checkpoint()
        return self.past

    async def work_saved(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.saved is not None:
            self.waits_for_save = True
            self._news.set()
            self._news = trio.Event()
            await self.saved.wait()

    async def remember(self, data: dict[str, Any]) -> None:
        self.memory = data
        await trio.lowlevel.checkpoint()

    def new_id(self) -> str:
        self._ids += 1
        # Unique on the machine: what is killed is found by it, and another worker's tests have sinks too.
        return f"id-{os.getpid()}-{self._ids}"

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    def text(self, channel: str = "text") -> str:
        """Return the pieces of one channel, joined."""
        return "".join(piece.text for piece in self.of(TextPiece) if piece.channel == channel)

    async def until(self, seen: Callable[[RecordingSink], bool], limit_s: float = TURN_S) -> None:
        """Wait until the record satisfies `seen`."""
        with trio.fail_after(limit_s):
            await trio.lowlevel.checkpoint()
            while not seen(self):
                await self._news.wait()

    def _note(self, event: HubEvent | Asked) -> None:
        self.events.append(event)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()


@attrs.define(eq=False, kw_only=True)
class ClaudeRig(DriverRig[ClaudeDriver, RecordingSink]):
    """Drivers of the real Claude Code on a stand-in for its model service."""

    standin: StandIn
    agent_session_id: str

    def sink(self) -> RecordingSink:
        """Return a new sink."""
        return RecordingSink()

    def spec(self, **changes: Any) -> HubSpec:
        """Return a hub's spec; `env` is added to the stand-in's environment."""
        env = standin_env(self.standin.url, str(self.home)) | changes.pop("env", {})
        options = changes.pop("options", {})
        changes = {"agent_session_id": self.agent_session_id} | changes
        return self.base_spec("claude", env, options, **changes)

    def driver(self, **changes: Any) -> ClaudeDriver:
        """Make a driver."""
        return self.keep(make_driver(self.spec(**changes)))


@asynccontextmanager
async def open_rig(folder: Path) -> AsyncIterator[ClaudeRig]:
    """Open a rig below `folder`; its drivers end with the block."""
    home, workspace = make_folders(folder)
    async with open_standin() as standin:
        rig = ClaudeRig(
            standin=standin,
            home=home,
            workspace=workspace,
            hub_id=f"hub-{os.getpid()}",
            agent_session_id=str(uuid.uuid4()),
        )
        try:
            async with rig.closing():
                yield rig
        finally:
            gc.collect()  # what the SDK dropped is to be warned of here, not in somebody else's test


def stopped_at_its_start(program: str | Path, folder: Path) -> dict[str, str]:
    """Return options that lead to `program`, stopped (SIGSTOP) before its first step."""
    script = folder / "stopped"
    script.write_text(f'#!/bin/sh\nkill -STOP $$\nexec {program} "$@"\n')
    script.chmod(0o755)
    return {"cli_path": str(script)}


def program_pids(agent_session_id: str) -> list[int]:
    """Return the ids of this process's Claude Code programs on that conversation."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            words = child.cmdline()
        except psutil.NoSuchProcess:
            continue
        if any(agent_session_id in word for word in words) and child.status() != psutil.STATUS_ZOMBIE:
            found.append(child.pid)
    return found
