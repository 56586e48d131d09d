"""Servers, the people on them, and the killer: traps that go off at a given event, and what they kill.

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
from typing import Protocol

import attrs
import psutil
import trio
from websockets.exceptions import WebSocketException

from bridgehub.protocol.folder import read_pid_file
from bridgehub.protocol.process_tree import is_alive
from tests.support.device import Closed, Device, Json, Refused
from tests.support.invariants import Problem
from tests.support.server import Server
from tests.torture.traps import Trap, Victim

__all__ = ["Database", "Place", "Town", "config_of"]

LINGER_S = 8.0
"""How long a node stays away at most; its lease ends after 3 s."""

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


class Database(Protocol):
    """The database that several nodes share."""

    def kill(self) -> None:
        """Kill all of its processes."""

    def start(self) -> None:
        """Start it, and wait until it answers."""


@attrs.define(eq=False)
class Place:
    """A server that may be killed and started again.

    Attributes:
        up: set while it runs.
        lives: how many processes it was: a connection may end only with one of them.
    """

    server: Server
    up: trio.Event = attrs.field(factory=trio.Event)
    lives: int = 1

    def __attrs_post_init__(self) -> None:
        """It runs."""
        self.up.set()

    async def restart(self) -> None:
        """Start the next server, once the one that was killed is gone."""
        await self.server.wait()
        await self.server.restart()
        self.up.set()


@attrs.define(eq=False)
class Town:
    """Servers with people on them, and traps that kill.

    Attributes:
        places: the servers; several are nodes on one database.
        record: where the relays keep theirs.
        homes: the place of each session, if there are several.
        database: of several nodes.
        draining: nobody says anything new.
        heads: once all is said: the last seq of each session.
        killed: processes that were killed, by what they were.
        refusals: connections and attaches that nodes refused.
        away: set once a person heard that a session's machine is away.
        problems: what was seen to be wrong on the way.
    """

    places: tuple[Place, ...]
    record: Path
    homes: dict[str, Place] = attrs.field(factory=dict)
    database: Database | None = None
    draining: bool = False
    heads: dict[str, int] | None = None
    killed: Counter[str] = attrs.field(factory=Counter)
    drops: int = 0
    refusals: Counter[str] = attrs.field(factory=Counter)
    away: trio.Event = attrs.field(factory=trio.Event)
    problems: list[Problem] = attrs.field(factory=list)
    trap: Trap | None = None
    _struck: trio.Event = attrs.field(factory=trio.Event)
    _answers: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        """The database answers."""
        self._answers.set()

    @classmethod
    def of(cls, server: Server, record: Path) -> Town:
        """Return the town of one server."""
        return cls((Place(server),), record)

    @property
    def server(self) -> Server:
        """A server that has all sessions."""
        return self.places[0].server

    # ---- for people ----

    def saw(self, session_id: str, frame: Json) -> None:
        """Take note of what a device sees; the trap may go off."""
        if frame.get("code") == "machine_away":
            self.away.set()
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

    def refuses(self, code: str) -> bool:
        """Return whether a session may be out of reach for a while, with this code; note it."""
        may = self.database is not None and code in ("machine_away", "storage")
        self.refusals[code] += may
        return may

    async def connected(self, dice: random.Random, visit: Callable[[Device], Awaitable[None]]) -> None:
        """Call `visit` with a new device at any server that is up; a connection that a kill ends is not an error."""
        place = dice.choice([one for one in self.places if one.up.is_set()] or self.places)
        while not (place.up.is_set() and self._answers.is_set()):
            await place.up.wait()
            await self._answers.wait()
        lives, let_in = place.lives, False
        try:
            async with place.server.device() as device:
                let_in = True
                await visit(device)
        except* Refused as refused:
            if not all(self.refuses(code) for code in codes_of(refused)):
                self.problems.append(Problem("lost", f"a session that was there: {refused!r}"))
        except* (Closed, OSError, trio.BrokenResourceError, RuntimeError, WebSocketException) as broken:
            if lives == place.lives and (let_in or not self.refuses("storage")):
                self.problems.append(Problem("lost", f"a connection, and no server was killed: {broken!r}"))

    # ---- for the killer ----

    async def spring(self, trap: Trap) -> None:
        """Set a trap, wait until it strikes, and start again what it killed."""
        self._struck, self.away = trio.Event(), trio.Event()
        self.trap = trap
        await self._struck.wait()
        if self.database is not None and not self._answers.is_set():
            await trio.to_thread.run_sync(self.database.start)
            self._answers.set()
        down = [place for place in self.places if not place.up.is_set()]
        if down and trap.lingers:
            with trio.move_on_after(LINGER_S):  # nobody may be there who looks
                await self.away.wait()
        async with trio.open_nursery() as nursery:
            for place in down:
                nursery.start_soon(place.restart)

    def kill_server(self, place: Place | None = None) -> None:
        """Kill a server; `spring` starts the next one."""
        found = place or self.places[0]
        found.lives += 1
        found.up = trio.Event()
        os.kill(found.server.pid, signal.SIGKILL)

    def hub_of(self, session_id: str) -> psutil.Process | None:
        """Return the living hub of a session."""
        folders = [folder for place in self.places for folder in (place.server.data / "hubs").glob("*")]
        for folder in folders:
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
        if "database" in victims and self.database is not None:
            self._answers = trio.Event()
            self.database.kill()
            self.killed["database"] += 1
        home = self.homes.get(session_id, self.places[0])
        others = [place for place in self.places if place is not home] if "gateway" in victims else []
        for place in others:
            self.kill_server(place)
            self.killed["gateway"] += 1
        if "server" in victims or self.killed.total() == before:
            self.kill_server(home)
            self.killed["server"] += 1

    def _kill(self, process: psutil.Process, what: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.killed[what] += 1


def codes_of(group: BaseExceptionGroup[Refused]) -> list[str]:
    """Return the codes of refused attaches."""
    return [
        code
        for one in group.exceptions
        for code in (codes_of(one) if isinstance(one, BaseExceptionGroup) else [str(one.answer.get("code"))])
    ]
