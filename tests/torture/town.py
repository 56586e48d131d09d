"""A server, the people on it, and the killer: traps that go off at a given event, and what they kill.

A trap strikes in the very moment in which a device sees the event, before the device does anything more; so a step
of a turn is hit exactly, and no kill is a matter of time.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import attrs
import psutil
import trio
from websockets.exceptions import WebSocketException

from bridgehub.protocol.folder import read_pid_file
from bridgehub.protocol.process_tree import is_alive
from tests.support.device import Closed, Device, Json
from tests.support.invariants import Problem
from tests.support.server import Server

__all__ = ["STEPS", "Town", "Trap", "Victim", "config_of"]

Victim = Literal["server", "hub", "agent"]

STEPS = (
    "accepted",
    "user_message",
    "d:queued",
    "turn_started",
    "d:handed",
    "d:consumed",
    "message",
    "message",
    "permission_requested",
    "permission_resolved",
    "task_started",
    "task_finished",
    "d:answered",
    "d:unknown",
    "complete",
    "error",
    "interrupted",
)
"""What a trap may wait for: each step of a turn as a device sees it."""

_CONFIG = """
heartbeat_s = 0.5
[agents.relay]
kind = "bridgehub/1.0"
command = ["{python}", "-S", "-E", "{program}"]
direction = "codex_to_claude"
[agents.relay.env]
TORTURE_FOLDER = "{folder}"
"""


def config_of(python: str, folder: Path) -> str:
    """Return the config of a server whose agent `relay` keeps its record in `folder`."""
    program = Path(__file__).with_name("agent_program.py")
    return _CONFIG.format(python=python, program=program, folder=folder)


@attrs.define
class Trap:
    """Strikes at the `count`th event of `step`, or after `patience` events of any kind."""

    step: str
    count: int
    victims: frozenset[Victim]
    patience: int = 400


@attrs.define(eq=False)
class Town:
    """A server with people on it, and traps that kill.

    Attributes:
        server: the one that is killed.
        record: where the relays keep theirs.
        up: set while a server runs.
        lives: how many servers there were: a connection may end only with one of them.
        draining: nobody says anything new.
        heads: once all is said: the last seq of each session.
        killed: processes that were killed, by what they were.
        problems: what was seen to be wrong on the way.
    """

    server: Server
    record: Path
    up: trio.Event = attrs.field(factory=trio.Event)
    lives: int = 1
    draining: bool = False
    heads: dict[str, int] | None = None
    killed: Counter[str] = attrs.field(factory=Counter)
    drops: int = 0
    problems: list[Problem] = attrs.field(factory=list)
    trap: Trap | None = None
    _struck: trio.Event = attrs.field(factory=trio.Event)

    # ---- for people ----

    def saw(self, session_id: str, frame: Json) -> None:
        """Take note of what a device sees; the trap may go off."""
        trap = self.trap
        if trap is None or frame["type"] == "heartbeat":
            return
        step = f"d:{frame['state']}" if frame["type"] == "delivery" else frame["type"]
        trap.patience -= 1
        trap.count -= step == trap.step
        if trap.count <= 0 or trap.patience <= 0:
            self.trap = None
            self._strike(session_id, trap.victims)
            self._struck.set()

    async def connected(self, visit: Callable[[Device], Awaitable[None]]) -> None:
        """Call `visit` with a new device once a server is up; a connection that a kill ends is not an error."""
        while not self.up.is_set():
            await self.up.wait()
        lives = self.lives
        try:
            async with self.server.device() as device:
                await visit(device)
        except* (Closed, OSError, trio.BrokenResourceError, RuntimeError, WebSocketException) as broken:
            if lives == self.lives:
                self.problems.append(Problem("lost", f"a connection, and no server was killed: {broken!r}"))

    # ---- for the killer ----

    async def spring(self, trap: Trap) -> None:
        """Set a trap, wait until it strikes, and start a server again where it killed one."""
        self._struck = trio.Event()
        self.trap = trap
        await self._struck.wait()
        if not self.up.is_set():
            await self.server.wait()
            await self.server.restart()
            self.up.set()

    def kill_server(self) -> None:
        """Kill the server; `spring` starts the next one."""
        self.lives += 1
        self.up = trio.Event()
        os.kill(self.server.pid, signal.SIGKILL)
        self.killed["server"] += 1

    def hub_of(self, session_id: str) -> psutil.Process | None:
        """Return the living hub of a session."""
        for folder in (self.server.data / "hubs").glob("*"):
            found = read_pid_file(folder)
            if found is not None and found.session_id == session_id and is_alive(found.pid, found.started):
                with suppress(psutil.NoSuchProcess):
                    return psutil.Process(found.pid)
        return None

    def processes(self, session_id: str | None, what: str) -> Iterator[psutil.Process]:
        """Yield the relays (`agent`) or their commands (`tool`) that live, of one session or of all."""
        path = self.record / "processes"
        for line in path.read_text().splitlines() if path.exists() else ():
            session, kind, pid = line.split("\t")
            if kind == what and session_id in (None, session):
                with suppress(psutil.Error):
                    process = psutil.Process(int(pid))
                    ours = process.environ().get("TORTURE_FOLDER") == str(self.record)
                    if ours and process.status() != psutil.STATUS_ZOMBIE:
                        yield process

    def _strike(self, session_id: str, victims: frozenset[Victim]) -> None:
        before = self.killed.total()
        if "agent" in victims:
            own = list(self.processes(session_id, "agent"))
            for process in own or list(self.processes(None, "agent"))[:1]:
                self._kill(process, "agent")
        if "hub" in victims and (hub := self.hub_of(session_id)) is not None:
            self._kill(hub, "hub")
        if "server" in victims or self.killed.total() == before:
            self.kill_server()

    def _kill(self, process: psutil.Process, what: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.killed[what] += 1


def roll_trap(dice: random.Random) -> Trap:
    """Return a trap: any step, any combination of victims."""
    victims: list[frozenset[Victim]] = [
        frozenset({"server"}),
        frozenset({"hub"}),
        frozenset({"agent"}),
        frozenset({"server", "hub"}),
        frozenset({"server", "agent"}),
        frozenset({"hub", "agent"}),
        frozenset({"server", "hub", "agent"}),
    ]
    return Trap(dice.choice(STEPS), dice.randint(1, 5), dice.choice(victims), patience=150)
