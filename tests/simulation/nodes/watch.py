"""What must hold between the nodes of a history at every moment: no node vouches for what it cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.nodes.ports import SILENT_S
from actors.nodes.replica import SURE_S, Replica
from actors.tail import SessionProblem
from tests.simulation.nodes.server import NodeServer

if TYPE_CHECKING:
    from tests.simulation.nodes.nodes_world import NodesWorld

__all__ = ["watch_nodes"]

LOOK_S = 0.5

BOTH_S = 2.0
"""Two processes of one name do not serve side by side for so long, if both reach the database."""

TOLD_S = SILENT_S + 1.5
"""Devices of a node that is cut off for so long have heard of it."""


async def watch_nodes(world: NodesWorld) -> None:
    """Look again and again, until cancelled; complain of what is wrong."""
    heads: list[tuple[float, dict[str, int]]] = []
    twice: dict[str, float] = {}
    while True:
        now = trio.current_time()
        heads.append((now, {name: _head(world, name) for name in world.plan.sessions}))
        known = next(one for at, one in reversed(heads) if at <= now - SURE_S - LOOK_S or at == heads[0][0])
        for server in world.servers:
            if isinstance(server, NodeServer) and server.router is not None and not server.life.dead:
                for followed in server.router.replicas._followed.values():
                    _check(world, server, followed.replica, known)
        _check_names(world, twice)
        await trio.sleep(LOOK_S)


def _check_names(world: NodesWorld, twice: dict[str, float]) -> None:
    """Look that one process has a name. `twice`: since when two have, by name."""
    serving = [one for one in world.servers if isinstance(one, NodeServer) and one.router is not None]
    names = [one.node for one in serving if not (one.life.dead or world.room.is_cut(one.node, one.life))]
    for name in sorted(set(names)):
        if names.count(name) == 1:
            twice.pop(name, None)
        elif trio.current_time() - twice.setdefault(name, trio.current_time()) > BOTH_S:
            world.chaos.complain(f"two processes are node {name}")


def _head(world: NodesWorld, session_id: str) -> int:
    record = world.store.record(session_id)
    return 0 if record is None else record.head_seq


def _check(world: NodesWorld, server: NodeServer, replica: Replica, known: dict[str, int]) -> None:
    tail, name, node = replica.tail, replica.session_id, server.node
    cut_s = world.room.cut_s(node, server.life)
    if not tail.is_watched:
        return
    if tail.is_current and tail.head_seq < known[name]:
        world.chaos.complain(f"{node} vouches for {tail.head_seq} of {name}, which was at {known[name]}")
    problem = next((one for one in tail.news_since(0) if isinstance(one, SessionProblem)), None)
    if cut_s > TOLD_S and (problem is None or problem.code is None):
        world.chaos.complain(f"{node} is cut off, and says nothing of it to the devices in {name}")
