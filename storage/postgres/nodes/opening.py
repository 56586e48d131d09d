"""Opens the database for one of several nodes: each holds a lock of its name, and none waits for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import psycopg

from storage.errors import DatabaseInUse
from storage.postgres import opening
from storage.postgres.connection import Connection
from storage.postgres.home import Home, WrongDatabase, name_of_place, settle_place
from storage.postgres.nodes.clock import refuse_wrong_clock
from storage.postgres.opening import LOCK, DatabaseOpening, value_of
from storage.records import OWNER

__all__ = ["LEASE_S", "NodeOpening"]

LEASE_S: Final = 3
"""Seconds without a beat after which a node counts as away."""

NODE_LOCK: Final = 0x424F5332
PREPARE_LOCK: Final = 0x424F5333

PREPARE_S: Final = 30
"""Seconds to wait for other nodes that start: one may make or change the tables."""

_SHARED: Final = f"SELECT pg_advisory_lock_shared({LOCK})"
_OWN: Final = f"SELECT pg_advisory_lock({NODE_LOCK}, hashtext($1))"
_PREPARE: Final = f"SELECT pg_advisory_lock({PREPARE_LOCK})"
_PREPARED: Final = f"SELECT pg_advisory_unlock({PREPARE_LOCK})"
_HOLDER: Final = f"""
SELECT application_name, coalesce(host(client_addr), 'this machine') FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND pg_locks.database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (($1 AND classid = {NODE_LOCK} AND objid = hashtext($2)::oid) OR (NOT $1 AND objid = {LOCK} AND objsubid = 1))
"""
_NODE: Final = "SELECT home FROM node WHERE id = $1"
_OTHER_NAME: Final = "SELECT id FROM node WHERE home = $1 AND id <> $2"
_SINGLE: Final = "SELECT value FROM meta WHERE key = 'node'"
_CLAIM: Final = (
    "UPDATE session SET owner = $1 WHERE owner = '{owner}'",
    "UPDATE removal SET owner = $1 WHERE owner = '{owner}'",
)
_CLAIMED: Final = "DELETE FROM meta WHERE key = 'node'"
_JOIN: Final = f"""
INSERT INTO node (id, home, incarnation, version, lease_until, name)
VALUES ($1, $2, 1, $3, clock_timestamp() + interval '{LEASE_S} s', $4)
ON CONFLICT (id) DO UPDATE SET home = excluded.home, incarnation = node.incarnation + 1, version = excluded.version,
  lease_until = excluded.lease_until, name = excluded.name, is_first = false
RETURNING incarnation
"""
_INCARNATION: Final = "SELECT incarnation FROM node WHERE id = $1"
_OLD_MAIL: Final = "DELETE FROM mail WHERE node = $1"


@attrs.define(eq=False)
class NodeOpening(DatabaseOpening):
    """Opens the writer's connection for a node.

    Attributes:
        name: of the node.
        version: of this program.
        title: the node's name for people; empty if it has no other one.
        now_ms: this machine's clock.
        incarnation: how often a node of this name has started, once it is open.
    """

    name: str = attrs.field(kw_only=True)
    version: str = attrs.field(kw_only=True)
    title: str = attrs.field(default="", kw_only=True)
    now_ms: Callable[[], int] = attrs.field(kw_only=True)
    incarnation: int = attrs.field(default=0, init=False)

    def lock(self, connection: Connection) -> None:
        """Take the node's own lock, beside other nodes. Blocks. Raises DatabaseInUse, ClockOff."""
        if not self.incarnation:
            refuse_wrong_clock(connection, self.server.name, self.now_ms)
        connection.execute(f"SET lock_timeout = '{opening.LOCK_WAIT_S * 1000:.0f}ms'")
        self._wait(
            connection, _SHARED, (), "it is in use by {}, which does not share it: it needs --node too"
        )
        self._wait(connection, _OWN, (self.name,), f"node {self.name} runs already: {{}}")
        if not self.incarnation:
            connection.execute(f"SET lock_timeout = '{PREPARE_S}s'")
            self._wait(connection, _PREPARE, (), "another node starts")
        connection.execute("SET lock_timeout = 0")

    def _wait(self, connection: Connection, sql: str, bound: tuple[str, ...], refusal: str) -> None:
        try:
            connection.execute(sql, bound)
        except psycopg.errors.LockNotAvailable:
            holder = connection.execute(_HOLDER, (bool(bound), self.name)).fetchone()
            name = "another server" if holder is None else f"{holder[0]} on {holder[1]}"
            raise DatabaseInUse(f"{self.server.name}: {refusal.format(name)}") from None

    def take_turn(self, connection: Connection) -> None:
        """Do nothing: `settle_home` does it, once it is known that this node may."""

    def check_turn(self, connection: Connection) -> None:
        """Raise DatabaseInUse if a node of this name has started since."""
        found = connection.execute(_INCARNATION, (self.name,)).fetchone()
        if found is None or found[0] != self.incarnation:
            raise DatabaseInUse(f"{self.server.name}: another node {self.name} has started, so this one ends")

    def settle_home(self, connection: Connection) -> None:
        """Enter this node, if folder, name and database belong together. Blocks. Raises WrongDatabase."""
        own = Home(self.node, self.place, self.server.name, self.server.url)
        home = name_of_place(self.data, own, move_here=self.move_here)
        self._check_name(connection, home)
        single = connection.execute(_SINGLE).fetchone()
        if single is not None and single[0] != home and not self.move_here:
            raise WrongDatabase(
                f"{self.server.name}: its sessions belong to another data folder; start that one with --node first,"
                " or take them over without their agents by --move-here"
            )
        settle_place(self.data, own, move_here=self.move_here)  # only once nothing is refused any more
        with connection.transaction():
            if single is not None:
                for sql in _CLAIM:
                    connection.execute(sql.format(owner=OWNER), (self.name,))
                connection.execute(_CLAIMED)
            joined = connection.execute(_JOIN, (self.name, home, self.version, self.title)).fetchone()
            connection.execute(_OLD_MAIL, (self.name,))
        assert joined is not None
        self.incarnation = joined[0]
        value_of(connection, _PREPARED)

    def _check_name(self, connection: Connection, home: str) -> None:
        known = connection.execute(_NODE, (self.name,)).fetchone()
        if known is not None and known[0] != home and not self.move_here:
            raise WrongDatabase(
                f"{self.server.name}: node {self.name} has another data folder, where its agents may still run;"
                " choose another name, or take its sessions over without their agents by --move-here"
            )
        other = connection.execute(_OTHER_NAME, (home, self.name)).fetchone()
        if other is not None:
            raise WrongDatabase(
                f"{self.data}: it is the folder of node {other[0]}; start with --node {other[0]}"
            )
