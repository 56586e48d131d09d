"""Two nodes over one store. Devices come to either; a node is killed, cut off and started again by itself."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping

import attrs
import trio

from actors.events.codec import encode_entry
from actors.events.committed import Committed
from actors.events.conversation import Complete
from storage.records import NewSession
from tests.simulation.agent import AgentLog
from tests.simulation.chaos import START_MS
from tests.simulation.hubs import HubProcess, Machine
from tests.simulation.nodes.alerts import LONG_AGO_MS, AlertBook
from tests.simulation.nodes.post import PostRoom
from tests.simulation.nodes.server import NodeServer
from tests.simulation.nodes.watch import watch_nodes
from tests.simulation.plan import Does, Fault
from tests.simulation.server import SimServer
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
    book: AlertBook = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        World.__attrs_post_init__(self)
        self.room = PostRoom(self.chaos)
        self.book = AlertBook(self.store)

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
            while running := [one for one in self.servers if one.is_running and _is_of(one, node)]:
                await running[0].ended.wait()

    def _make_node(self, node: str) -> NodeServer:
        assert isinstance(self.machine, Machines)
        life = Life(len(self.servers))
        server = NodeServer(
            self.chaos,
            self.store,
            self.machine.own[node],
            self.keys,
            life,
            node=node,
            room=self.room,
            book=self.book,
        )
        self.servers.append(server)
        return server

    def connect(self, name: str) -> Wire | None:
        """Connect a device to any node that serves."""
        found = self.open_servers()
        return self._wire_to(self.chaos.chance.choice(found), name) if found else None

    def strike(self, fault: Fault) -> None:
        """Let a fault happen, now."""
        if fault.kind not in ("power_cut", "cut_node", "same_name", "import"):
            World.strike(self, fault)
            return
        self.chaos.struck.append(fault.kind)
        node = self.chaos.chance.choice(NODES)
        self.chaos.note(f"fault {fault.kind} {fault.amount}, node {node}")
        match fault.kind:
            case "power_cut":  # of the database: its standby has what was durable
                self.store.cut_power(epochs=False)
                self.room.fail_over()
            case "cut_node":
                self.room.cut(node, fault.amount)
            case "same_name":
                self._start_again(node, fault.amount)
            case _:
                self._import(node)

    def _start_again(self, node: str, seconds: float) -> None:
        """Cut a process off, so that the database frees its name, and start another one of that name."""
        found = [one for one in self.open_servers() if _is_of(one, node)]
        if len(found) == 1:
            self.room.cut(found[0].life.number, seconds)
            self.nursery.start_soon(self._make_node(node).run)

    def _import(self, node: str) -> None:
        """Write a session of long ago, as an import does: its rows are old, and their numbers are new."""
        session_id = f"old{len(self.chaos.struck)}"
        at_ms = START_MS - LONG_AGO_MS
        made = self.store.memory.create_nowait(NewSession(session_id, "plan", "d0", b"{}", at_ms))
        made.record = attrs.evolve(made.record, owner=node)
        entry = encode_entry(Committed(1, 1, at_ms, "t1", None, Complete(1, 0, "")))
        begun = self.book.commits.begin(session_id, 0, [entry])
        self.store.memory.put_nowait(made, entry)
        self.book.commits.written(begun)
        self.book.commits.end(begun)
        self.store.sync()

    def unrest(self) -> list[str]:
        """Return what nobody was notified of yet."""
        return [f"nobody was notified of {one}" for one in self.book.missing()]


def _is_of(server: SimServer, node: str) -> bool:
    return isinstance(server, NodeServer) and server.node == node
