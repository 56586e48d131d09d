"""Bugs between nodes that are planted on purpose. Each is an assumption of one process that somebody could leave in.

The order of commits, the numbers of mail after a promotion and the lock of a name are the database's own. Here they
are rules of its model; `tests/postgres` has the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transport.push.alert_state
from actors.nodes.calls import HomeCalls
from actors.nodes.replica import Replica, ReplicaTail
from actors.nodes.replicas import Replicas
from tests.simulation.bugs import Replaced
from tests.simulation.nodes.alerts import Commits, Place
from tests.simulation.nodes.post import PostRoom, SimPost
from tests.simulation.nodes.server import NodeStoreHandle

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
    return NodeStoreHandle, "_is_durable", lambda _, durable: durable


def _trouble_is_not_told() -> Replaced:
    """Only a session's own actor reports trouble; a replica is silent while its node is cut off."""
    return Replica, "show", lambda *_: None


def _events_before_answers() -> Replaced:
    """The events of a message are shown, and its answer is lost or comes later."""
    return HomeCalls, "settle", _nothing


def _lost_news_are_forgotten() -> Replaced:
    """Only mail says how far a session is; the database is not asked."""
    return Replicas, "_poll", _nothing


def _numbers_are_the_order() -> Replaced:
    """A reader of all journals continues after the highest number, as if rows were seen in the order of theirs."""

    def readable(self: Commits) -> dict[Place, tuple[str, int]]:
        return {(0, number): row for row, (_, number) in self.places.items()}

    return Commits, "readable", readable


def _numbers_end_with_the_primary() -> Replaced:
    """The numbers of mail are lost with the mail when a standby is promoted, so none is posted any more."""

    def next_number(self: PostRoom) -> int | None:
        return None if self.fail_overs else next(self._numbers)

    return PostRoom, "next_number", next_number


def _an_import_is_news() -> Replaced:
    """A row with a new number has just happened, so a person is notified of it."""
    return transport.push.alert_state, "TOO_OLD_MS", 1 << 60


def _the_older_process_stays() -> Replaced:
    """A node is its name: a process does not end if a newer one has it."""
    return SimPost, "_is_replaced", lambda *_: False


BUGS: dict[str, Callable[[], Replaced]] = {
    made.__name__.lstrip("_"): made
    for made in (
        _all_sessions_are_own,
        _silent_node_vouches,
        _pieces_may_be_lost,
        _trouble_is_not_told,
        _events_before_answers,
        _lost_news_are_forgotten,
        _numbers_are_the_order,
        _numbers_end_with_the_primary,
        _an_import_is_news,
        _the_older_process_stays,
    )
}
