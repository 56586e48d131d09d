"""The machine that hubs run on, and what each server has of it. A machine outlives servers, and so do its hubs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import attrs
import trio

from actors.errors import HubLost, HubStartFailed
from actors.hub_link import SocketHubLink, open_link
from actors.ports import FoundHub
from bridgehub.protocol.codec import decode_from_hub
from bridgehub.protocol.errors import LinkError
from bridgehub.protocol.messages import VERSION, Hello, HubSpec, Reported
from tests.simulation.agent import AgentLog
from tests.simulation.chaos import Chaos
from tests.simulation.plan import Does
from tests.simulation.process import HubProcess
from tests.simulation.store import Life
from tests.simulation.wires import End, Wire

__all__ = ["HubHandle", "Machine", "sockets_of"]


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
    handles: dict[int, HubHandle] = attrs.field(factory=dict)
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


@contextmanager
def sockets_of(machine: Machine) -> Iterator[None]:
    """Have Unix sockets be those of a machine inside the block: the hub's link opens no other.

    A path is the number of the server that connects and the hub's id.
    """

    async def open_unix_socket(path: str) -> End:
        await trio.lowlevel.checkpoint()
        number, hub_id = path.split("/")
        return machine.handles[int(number)].open_wire(hub_id)

    with patch.object(trio, "open_unix_socket", open_unix_socket):
        yield


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
        process = machine.processes[spec.hub_id] = HubProcess(
            machine.chaos, machine.log, machine.scripts, spec, self.life
        )
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
        self.machine.handles[self.life.number] = self
        return await open_link(f"{self.life.number}/{hub_id}", hello)

    def open_wire(self, hub_id: str) -> End:
        """Connect to a hub's socket. Raises OSError where nobody listens."""
        wire = self.machine.connect(hub_id)
        self._wires = [one for one in self._wires if one.is_whole]
        self._wires.append(wire)
        return wire.near

    async def bury(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """See `actors.ports.Hubs`."""
        await self._arrive()
        found = self.machine.processes.get(hub_id)
        events: list[Reported] = []
        if found is not None:
            found.kill()
            for data in () if hub_id in self.machine.forgotten else found.files:
                _read_left(data, last_seq, events)
        return events

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


def _read_left(data: bytes, last_seq: int, events: list[Reported]) -> None:
    """Add the events of a hub's file that follow `events`, or `last_seq`, without a gap; a broken line ends it."""
    position = events[-1].seq if events else last_seq
    for line in data.splitlines():
        try:
            message = decode_from_hub(line)
        except LinkError:
            return
        if not isinstance(message, Reported) or message.first_seq > position + 1:
            return
        if message.seq > position:
            events.append(message)
            position = message.seq
