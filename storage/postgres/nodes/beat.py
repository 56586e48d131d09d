"""One beat of a node: it renews its lease, says how it is, sees the others, and may become the first of them.

The first node does what only one may do. It holds a lock of the database as long as its connection lasts. The database
may keep the connection of a node that stands still or is cut off: the others end it then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from storage.errors import DatabaseInUse
from storage.node_records import NodeState
from storage.postgres.connection import Connection, PostgresServer
from storage.postgres.nodes.opening import LEASE_S

__all__ = ["Beat", "beat"]

_FIRST_LOCK: Final = 0x424F5334
_RENEW: Final = f"""
UPDATE node SET lease_until = clock_timestamp() + interval '{LEASE_S} s', connections = $3,
  is_first = $4 OR pg_try_advisory_lock({_FIRST_LOCK})
WHERE id = $1 AND incarnation = $2 RETURNING is_first::int::bigint
"""
# Also what its node left in the middle of a transaction: that holds rows, and holds back the readers of all journals.
_END_FIRST: Final = f"""
SELECT pg_terminate_backend(one.pid) FROM pg_locks JOIN pg_stat_activity AS holder USING (pid)
  JOIN pg_stat_activity AS one ON one.application_name = holder.application_name AND one.datname = holder.datname
WHERE locktype = 'advisory' AND granted AND objid = {_FIRST_LOCK} AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND holder.pid <> pg_backend_pid()
  AND (one.pid = holder.pid OR one.state LIKE 'idle in transaction%')
"""
_KEYS: Final = "SELECT value FROM meta WHERE key = 'key_version'"
_NODES: Final = """
SELECT id, incarnation, version, (lease_until > clock_timestamp())::int::bigint, name, connections, is_first::int::bigint
FROM node ORDER BY id
"""


@attrs.frozen
class Beat:
    """What a beat saw. `keys`: the version of the keys; `is_first`: whether this node is the first."""

    nodes: Sequence[NodeState]
    keys: str
    is_first: bool

    @property
    def is_headless(self) -> bool:
        """Whether no node that is well is the first."""
        return not any(one.is_first and one.is_alive for one in self.nodes)


def beat(
    connection: Connection,
    server: PostgresServer,
    node: str,
    incarnation: int,
    *,
    connections: int,
    was_first: bool,
    ends_first: bool,
) -> Beat:
    """Beat once. Blocks.

    Args:
        connections: of devices at this node.
        was_first: whether this connection has the lock already.
        ends_first: end the connection that has it, since its node has not been well for long.

    Raises:
        DatabaseInUse: another node of this name has started.
        psycopg.Error: the database failed.
    """
    bound = (node, incarnation, connections, was_first)
    found = connection.execute(_RENEW, bound, binary=True).fetchone()
    if found is None:
        raise DatabaseInUse(f"{server.name}: another node {node} has started, so this one ends")
    is_first = bool(found[0])
    if ends_first and not is_first:
        connection.execute(_END_FIRST)
    keys = connection.execute(_KEYS, binary=True).fetchone()
    rows: list[tuple[Any, ...]] = connection.execute(_NODES, binary=True).fetchall()
    nodes = [
        NodeState(name, number, version, bool(alive), title, count, bool(first))
        for name, number, version, alive, title, count, first in rows
    ]
    return Beat(nodes, "" if keys is None else str(keys[0]), is_first)
