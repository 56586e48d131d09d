"""Hub processes without processes: the real hub's parts, each in a nursery that can be killed.

What runs is `bridgehub`'s own `Hub`, turn runner, outbox and link server; only the driver is planned, the spool lies
in memory and the process is a cancel scope. A killed hub loses what a killed process loses: all but its files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import attrs
import trio

from bridgehub.agents.base import AgentDriver
from bridgehub.hub import Hub, HubLimits
from bridgehub.link import LinkServer
from bridgehub.outbox import Outbox
from bridgehub.protocol.messages import HubSpec, Welcome
from bridgehub.spool import Spool
from bridgehub.turns import TurnRunner
from tests.simulation.agent import AgentLog, PlannedDriver
from tests.simulation.chaos import Chaos
from tests.simulation.plan import Does
from tests.simulation.store import Life
from tests.simulation.wires import End, Wire

__all__ = ["HubProcess"]

KILL_S = 0.05
"""How long killing what is below a hub takes, where its agent does not stop by itself."""


@attrs.define(eq=False)
class _MemorySpool:
    """`bridgehub.spool.Spool` with its file in memory."""

    blocks: list[tuple[int, int, bytes]] = attrs.field(factory=list)
    file: bytes = b""
    left: bytes = b""

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def size(self) -> int:
        return len(self.file)

    def has_room(self, length: int) -> bool:
        return True

    def append(self, first_seq: int, last_seq: int, data: bytes) -> None:
        self.blocks.append((first_seq, last_seq, data))
        self.file += data

    def read(self, index: int) -> tuple[int, bytes]:
        first_seq, _, data = self.blocks[index]
        return first_seq, data

    def drop_through(self, seq: int) -> int:
        kept = [block for block in self.blocks if block[1] > seq]
        dropped = len(self.blocks) - len(kept)
        self.blocks = kept
        if dropped and not kept:
            self.file = b""
        return dropped

    def keep_as(self, path: Path) -> None:
        self.left, self.file, self.blocks = self.file, b"", []

    def close(self) -> None:
        pass


@attrs.define(eq=False)
class _Turns(TurnRunner):
    async def _kill_all(self, over: trio.Event) -> None:
        try:
            await trio.sleep(KILL_S)  # the real one kills on a thread
        finally:
            over.set()


@attrs.define(eq=False)
class _Hub(Hub):
    spool: _MemorySpool = attrs.field(factory=_MemorySpool)

    def __attrs_post_init__(self) -> None:
        self.outbox = Outbox(cast("Spool", self.spool), self.limits.outbox_bytes)
        self.turns = _Turns(self.spec, self.outbox, self.make_driver, self._kill, self._note_change)
        self.links = LinkServer(self.spec.session_id, self, self.outbox, self._note_change)

    def welcome(self) -> Welcome:
        return attrs.evolve(super().welcome(), pid=7)


_USUAL: tuple[Does, ...] = (("take", 0), ("say", 0), ("done", 0))
"""What an agent does with a message that the plan says nothing of."""


@attrs.define(eq=False)
class HubProcess:
    """One hub. `garbled`: it was planned to break the protocol."""

    chaos: Chaos
    log: AgentLog
    scripts: dict[str, tuple[Does, ...]]
    spec: HubSpec
    life: Life
    alive: bool = True
    garbled: bool = False
    hub: _Hub = attrs.field(init=False)
    wires: list[Wire] = attrs.field(factory=list)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    nursery: trio.Nursery | None = None

    def __attrs_post_init__(self) -> None:
        limits = HubLimits(outbox_bytes=self.chaos.plan.knobs.outbox_bytes)
        self.hub = _Hub(self.spec, limits, self._make_driver)

    @property
    def hub_id(self) -> str:
        return self.spec.hub_id

    @property
    def files(self) -> tuple[bytes, bytes]:
        """What it left, and its spool."""
        return self.hub.spool.left, self.hub.spool.file

    def script_of(self, message_id: str) -> tuple[Does, ...]:
        return self.scripts.get(message_id, _USUAL)

    def _make_driver(self, spec: HubSpec) -> AgentDriver:
        driver: Any = PlannedDriver(self, self.log, self.chaos.plan.knobs.can_steer)
        return cast("AgentDriver", driver)  # as echo's, it wants a sink that can break the protocol

    async def run(self) -> None:
        """Live until something ends it, as `bridgehub.hub.Hub.run` does."""
        hub = self.hub
        with self.scope:
            hub.links.detached_at = hub.turns.ended_at = trio.current_time()
            async with trio.open_nursery() as self.nursery:
                self.nursery.start_soon(hub.turns.run)
                self.nursery.start_soon(hub._watch_abandonment)
                await hub.ending.wait()
                self.nursery.cancel_scope.cancel(reason="the hub ends")
            if self.alive:
                hub.outbox.leave(Path("left"))
                self.chaos.note(f"hub {self.hub_id} ended, left {len(hub.spool.left)} bytes")
        self.kill()

    def take(self, end: End) -> None:
        """Accept a connection."""
        assert self.nursery is not None
        self.nursery.start_soon(self.hub.links._serve_one, cast("trio.SocketStream", end))

    def kill(self) -> None:
        """End it as `kill -9` would. Idempotent."""
        if self.alive:
            self.alive = False
            self.chaos.note(f"hub {self.hub_id} is dead")
        self.scope.cancel(reason="killed")
        for wire in self.wires:
            wire.far.close()
