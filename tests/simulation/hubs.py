"""Hub processes without processes: the real hub's parts, each in a nursery that can be killed.

What runs is `bridgehub`'s own `Hub`, turn runner, outbox and link server; only the driver is planned, the spool lies
in memory and the process is a cancel scope. A killed hub loses what a killed process loses: all but its files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from actors.errors import HubLost, HubStartFailed
from actors.hubs.link import RECEIVE_BYTES, SocketHubLink, open_link
from actors.hubs.processes import LeftoverReader, Leftovers
from actors.ports import FoundHub
from bridgehub.agents.base import AgentDriver
from bridgehub.hub import Hub, HubLimits
from bridgehub.link import LinkServer
from bridgehub.outbox import Outbox
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import VERSION, Hello, Reported, Welcome
from bridgehub.spool import Spool
from bridgehub.turns.agent import HubAgent
from bridgehub.turns.runner import TurnRunner
from tests.simulation.agent import AgentLog, PlannedDriver, script_of
from tests.simulation.chaos import Chaos
from tests.simulation.plan import Does
from tests.simulation.store import Life
from tests.simulation.wires import End, Wire

__all__ = ["HubHandle", "HubProcess", "Machine"]

KILL_S = 0.05
"""How long killing what is below a hub takes, where its agent does not stop by itself."""


async def _receive(stream: trio.SocketStream) -> bytes:
    return bytes(await stream.receive_some(RECEIVE_BYTES))


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
class _Agent(HubAgent):
    async def _kill_all(self, over: trio.Event) -> None:
        try:
            await trio.sleep(KILL_S)  # the real one kills on a thread
        finally:
            over.set()


@attrs.define(eq=False)
class _Turns(TurnRunner):
    def _make_agent(self) -> HubAgent:
        return _Agent(self.spec, self.make_driver, self.kill)


@attrs.define(eq=False)
class _Hub(Hub):
    write_nowait: Callable[[trio.SocketStream, bytes], int] = attrs.field(kw_only=True)
    spool: _MemorySpool = attrs.field(factory=_MemorySpool)

    def __attrs_post_init__(self) -> None:
        self.outbox = Outbox(cast("Spool", self.spool), self.limits.outbox_bytes)
        self.turns = _Turns(self.spec, self.outbox, self.make_driver, self._kill, self._note_change)
        self.links = LinkServer(self.spec.session_id, self, self.outbox, self._note_change, self.write_nowait)

    def welcome(self) -> Welcome:
        return attrs.evolve(super().welcome(), pid=7)


@attrs.define(eq=False)
class HubProcess:
    """One hub. `garbled`: it was planned to break the protocol."""

    machine: Machine
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
        self.hub = _Hub(self.spec, limits, self._make_driver, write_nowait=self._write_nowait)

    @property
    def hub_id(self) -> str:
        return self.spec.hub_id

    @property
    def chaos(self) -> Chaos:
        return self.machine.chaos

    @property
    def files(self) -> tuple[bytes, bytes]:
        """What it left, and its spool."""
        return self.hub.spool.left, self.hub.spool.file

    def script_of(self, message_id: str) -> tuple[Does, ...]:
        return script_of(self.machine.scripts, message_id)

    def _make_driver(self, spec: HubSpec) -> AgentDriver:
        driver: Any = PlannedDriver(self, self.machine.log, self.chaos.plan.knobs.can_steer)
        return cast("AgentDriver", driver)  # as echo's, it wants a sink that can break the protocol

    def _write_nowait(self, stream: trio.SocketStream, data: bytes) -> int:
        """Write to a wire as to a socket, which may take only a part."""
        chaos, end = self.chaos, cast("End", stream)
        if chaos.plan.knobs.partial_writes and not chaos.healed:
            data = data[: chaos.sockets.randint(0, len(data))]
        try:
            return len(data) if end.send_nowait(data) else 0
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return 0

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


@attrs.define(eq=False)
class Machine:
    """Where hubs run; it outlives servers.

    Attributes:
        refuse_until: until when hubs that live take no connection.
        fail_starts, slow_start_s: what becomes of the next start.
    """

    chaos: Chaos
    log: AgentLog
    nursery: trio.Nursery
    scripts: dict[str, tuple[Does, ...]]
    processes: dict[str, HubProcess] = attrs.field(factory=dict)
    forgotten: set[str] = attrs.field(factory=set)
    refuse_until: float = 0.0
    fail_starts: int = 0
    slow_start_s: float = 0.0

    def living(self) -> list[HubProcess]:
        """Return the hubs that run."""
        return [one for one in self.processes.values() if one.alive]

    def wires(self) -> list[Wire]:
        """Return the links that are up."""
        return [wire for one in self.living() for wire in one.wires if wire.is_whole]

    def connect(self, hub_id: str) -> Wire:
        """Connect to a hub's socket. Raises OSError where nobody listens."""
        found = self.processes.get(hub_id)
        refused = trio.current_time() < self.refuse_until and not self.chaos.healed
        if found is None or not found.alive or found.nursery is None or refused:
            raise ConnectionRefusedError
        most_s = self.chaos.plan.knobs.link_delay_s
        wire = Wire(lambda: self.chaos.delay(most_s), self.chaos.tick)
        found.wires = [one for one in found.wires if one.is_whole]
        found.wires.append(wire)
        found.take(wire.far)
        return wire


@attrs.define(eq=False)
class HubHandle:
    """`actors.ports.Hubs` of one server."""

    machine: Machine
    life: Life
    _wires: list[Wire] = attrs.field(factory=list)

    async def _arrive(self) -> None:
        await trio.lowlevel.checkpoint()
        self.machine.chaos.tick()
        if self.life.dead:
            await trio.sleep_forever()

    def drop(self) -> None:
        """Close this server's links, as its death does."""
        for wire in self._wires:
            wire.near.close()

    async def start(self, spec: HubSpec) -> None:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        machine = self.machine
        wait_s = machine.slow_start_s + machine.chaos.delay(machine.chaos.plan.knobs.start_s)
        machine.slow_start_s = 0.0
        with trio.CancelScope(shield=True):  # the real one is on a thread
            await trio.sleep(wait_s)
        if machine.fail_starts and not machine.chaos.healed:
            machine.fail_starts -= 1
            raise HubStartFailed("no such program")
        if self.life.dead:
            await trio.sleep_forever()
        if spec.hub_id in machine.processes:
            machine.chaos.complain(f"hub {spec.hub_id} was started twice")
        same = [one for one in machine.living() if one.spec.session_id == spec.session_id]
        others = [one.hub_id for one in same if one.life is self.life]  # a rival's is another matter
        if others:
            machine.chaos.complain(f"hub {spec.hub_id} was started beside {others}")
        machine.chaos.note(f"hub {spec.hub_id} starts")
        process = machine.processes[spec.hub_id] = HubProcess(machine, spec, self.life)
        machine.forgotten.discard(spec.hub_id)
        machine.nursery.start_soon(process.run, name=f"hub {spec.hub_id}")
        while process.nursery is None and process.alive:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> SocketHubLink:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        found = self.machine.processes.get(hub_id)
        if found is None or hub_id in self.machine.forgotten:
            raise HubLost("there is no such hub")
        hello = Hello(VERSION, found.spec.session_id, owner_epoch, last_seq)
        return await open_link(hub_id, hello, open_socket=self._open_socket, receive=_receive)

    async def _open_socket(self, path: str) -> trio.SocketStream:
        await trio.lowlevel.checkpoint()
        wire = self.machine.connect(path)
        self._wires = [one for one in self._wires if one.is_whole]
        self._wires.append(wire)
        return cast("trio.SocketStream", wire.near)

    async def reap(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        found = self.machine.processes.get(hub_id)
        reader = LeftoverReader(Leftovers(last_seq))
        if found is not None:
            found.kill()
            for data in () if hub_id in self.machine.forgotten else found.files:
                reader.place.offset = 0
                with suppress(LinkError):
                    reader.read_lines(io.BytesIO(data))
        return reader.events

    async def stop(self, hub_ids: Collection[str]) -> Collection[str]:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        found = [self.machine.processes[one] for one in sorted(hub_ids) if one in self.machine.processes]
        for process in found:
            process.hub.ending.set()
        with trio.CancelScope(shield=True):  # the real one is on a thread
            await trio.sleep(0.02)
        for process in found:
            process.kill()
        return frozenset()

    async def forget(self, hub_id: str) -> None:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        if found := self.machine.processes.get(hub_id):
            found.kill()
        self.machine.forgotten.add(hub_id)

    async def find(self, hub_id: str) -> FoundHub | None:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        return self._found(hub_id)

    async def living(self) -> Sequence[FoundHub]:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        found = [self._found(hub_id) for hub_id in self.machine.processes]
        return [one for one in found if one is not None]

    def _found(self, hub_id: str) -> FoundHub | None:
        found = self.machine.processes.get(hub_id)
        if found is None or hub_id in self.machine.forgotten:
            return None
        return FoundHub(hub_id, found.spec.session_id, found.alive)
