"""Bugs between nodes that are planted on purpose. Each is an assumption of one process that somebody could leave in.

Of the list of such assumptions, three are not here: the order of commits, the numbers of mail after a promotion, and
the lock of a name are the database's own, and `tests/postgres` has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actors.nodes.calls import HomeCalls
from actors.nodes.replica import Replica, ReplicaTail
from actors.nodes.replicas import Replicas
from tests.simulation.bugs import Replaced
from tests.simulation.nodes.server import NodeStoreHandle
from tests.simulation.store import StoreHandle

__all__ = ["BUGS"]


async def _nothing(*_: Any) -> None:
    pass


def _all_sessions_are_own() -> Replaced:
    """A node that starts takes over each session that is not finished, at whatever home."""
    return NodeStoreHandle, "_is_own", lambda *_: True


def _silent_node_vouches() -> Replaced:
    """A heartbeat carries the head of a replica, whatever this node can know."""
    return ReplicaTail, "is_current", True


def _pieces_may_be_lost() -> Replaced:
    """Pieces are not durable, as on a disk of one's own: a standby that takes over may lack them."""
    return NodeStoreHandle, "append", StoreHandle.append


def _trouble_is_not_told() -> Replaced:
    """Only a session's own actor reports trouble; a replica is silent while its node is cut off."""
    return Replica, "show", lambda *_: None


def _events_before_answers() -> Replaced:
    """The events of a message are shown, and its answer is lost or comes later."""
    return HomeCalls, "settle", _nothing


def _lost_news_are_forgotten() -> Replaced:
    """Only mail says how far a session is; the database is not asked."""
    return Replicas, "_poll", _nothing


BUGS: dict[str, Callable[[], Replaced]] = {
    made.__name__.lstrip("_"): made
    for made in (
        _all_sessions_are_own,
        _silent_node_vouches,
        _pieces_may_be_lost,
        _trouble_is_not_told,
        _events_before_answers,
        _lost_news_are_forgotten,
    )
}
