"""Two nodes over one store. Devices come to either; a node is killed, cut off and started again by itself."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping

import attrs
import trio

from tests.simulation.agent import AgentLog
from tests.simulation.hubs import HubProcess, Machine
from tests.simulation.nodes.post import PostRoom
from tests.simulation.nodes.server import NodeServer
from tests.simulation.nodes.watch import watch_nodes
from tests.simulation.plan import Does, Fault
from tests.simulation.store import Life
from tests.simulation.wires import Wire
from tests.simulation.world import RESTART_S, World

__all__ = ["NODES", "NodesWorld"]

NODES = ("a", "b")


@attrs.define(eq=False)
class Machines(Machine):
    """The machines of the nodes, seen together. A trouble of the next start is the first machine's."""

    own: dict[str, Machine] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.own = {name: Machine(self.chaos, self.log, self.nursery, self.scripts) for name in NODES}
        everywhere: MutableMapping[str, HubProcess] = ChainMap(*[one.processes for one in self.own.values()])
        self.processes = everywhere  # type: ignore[assignment]


@attrs.define(eq=False)
class NodesWorld(World):
    """The world of one history of two nodes."""

    room: PostRoom = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        World.__attrs_post_init__(self)
        self.room = PostRoom(self.chaos)

    def _make_machine(self, log: AgentLog, scripts: dict[str, tuple[Does, ...]]) -> Machine:
        return Machines(self.chaos, log, self.nursery, scripts)

    async def run_servers(self) -> None:
        """Run both nodes, each one server after the other, until all is over."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_nodes, self)
            async with trio.open_nursery() as nodes:
                for node in NODES:
                    nodes.start_soon(self._run_node, node)
            nursery.cancel_scope.cancel(reason="all is over")

    async def _run_node(self, node: str) -> None:
        while not self.over:
            await self._make_node(node).run()
            await trio.sleep(self.down_s)
            self.down_s = RESTART_S

    def _make_node(self, node: str) -> NodeServer:
        assert isinstance(self.machine, Machines)
        life = Life(len(self.servers))
        server = NodeServer(
            self.chaos, self.store, self.machine.own[node], self.keys, life, node=node, room=self.room
        )
        self.servers.append(server)
        return server

    def connect(self, name: str) -> Wire | None:
        """Connect a device to any node that serves."""
        found = self.open_servers()
        return self._wire_to(self.chaos.chance.choice(found), name) if found else None

    def strike(self, fault: Fault) -> None:
        """Let a fault happen, now."""
        if fault.kind == "power_cut":  # of the database: its standby has what was durable
            self.chaos.struck.append(fault.kind)
            self.store.cut_power(epochs=False)
            return
        if fault.kind != "cut_node":
            World.strike(self, fault)
            return
        self.chaos.struck.append(fault.kind)
        node = self.chaos.chance.choice(NODES)
        self.chaos.note(f"node {node} is cut off for {fault.amount} s")
        if not self.room.is_cut(node):
            now = trio.current_time()
            self.room.cuts[node] = (now, now + fault.amount)
