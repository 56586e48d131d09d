"""The writer's connection to PostgreSQL: its lock, and the checks before a server may use a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs
import psycopg

from storage.errors import DatabaseInUse, StorageError, StorageUnavailable
from storage.postgres.connection import ANSWER_S, Connection, PostgresServer, connect, mapped_errors
from storage.postgres.home import Home, WrongDatabase, settle_home
from storage.postgres.schema import prepare_schema

__all__ = ["LOCK", "DatabaseOpening", "value_of"]

LOCK: Final = 0x424F5331
"""The number of the advisory lock that the server holds."""

LOCK_WAIT_S: Final[float] = 5
"""Seconds to wait for the lock: the database needs a moment to see that an earlier server has died."""

OPENING_S: Final = 600
"""Seconds that one statement may take before the database is open: tables may have to be changed."""

_LOCK: Final = f"SELECT pg_advisory_lock({LOCK})"
_HOLDER: Final = f"""
SELECT application_name, coalesce(host(client_addr), 'this machine'), pg_stat_activity.pid
FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted
  AND (classid::bigint << 32 | objid::bigint) = {LOCK} AND pg_locks.database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_TURN: Final = """
INSERT INTO meta (key, value) VALUES ('generation', '1')
ON CONFLICT (key) DO UPDATE SET value = (meta.value::bigint + 1)::text RETURNING value
"""
_TURN_NOW: Final = "SELECT value FROM meta WHERE key = 'generation'"
_NODES: Final = "SELECT string_agg(id, ', ' ORDER BY id) FROM node"
_NODE: Final = "SELECT value FROM meta WHERE key = 'node'"
_SET_NODE: Final = """
INSERT INTO meta (key, value) VALUES ('node', $1) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_PLACE: Final = """
SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid FROM pg_database
WHERE datname = current_database()
"""
# A database that was loaded from a dump has numbers of transactions of another server, which may lie ahead.
_IS_AHEAD: Final = "SELECT max(xid) > pg_current_xact_id() FROM journal"
_RENUMBER: Final = (
    "UPDATE journal SET xid = '3'::xid8",
    "UPDATE consumer SET position = '3:' || split_part(position, ':', 2) WHERE position LIKE '%:%'",
)


@attrs.define(eq=False)
class DatabaseOpening:
    """Opens the writer's connection, with the lock of the database.

    Attributes:
        application: the connection's name in `pg_stat_activity`.
        data, node, move_here, allow_asynchronous: as for `storage.postgres.store.open_postgres_store`.
        place: of the database, once it is open.
    """

    server: PostgresServer
    application: str
    data: Path
    node: str
    move_here: bool
    allow_asynchronous: bool
    place: str = attrs.field(default="", init=False)
    _turn: str = attrs.field(default="", init=False)

    def first(self) -> Connection:
        """Open it for the first time, prepare the database, and settle whose it is. Blocks.

        Raises:
            DatabaseInUse, WrongDatabase, StorageCorrupt, StorageVersion, StorageUnavailable: as `open_postgres_store`.
        """
        connection = self.prepare()
        try:
            with mapped_errors(self.server):
                self.settle_home(connection)
            connection.answer_s = ANSWER_S
        except BaseException:
            connection.close()
            raise
        return connection

    def prepare(self) -> Connection:
        """Open it and prepare the database. Blocks. Raises as `first`, except WrongDatabase."""
        connection = connect(self.server, self.application, answer_s=OPENING_S)
        try:
            with mapped_errors(self.server):
                self.lock(connection)
                prepare_schema(connection, self.server, allow_asynchronous=self.allow_asynchronous)
                self.take_turn(connection)
                self.place = value_of(connection, _PLACE)
                if value_of(connection, _IS_AHEAD):
                    with connection.transaction():
                        for sql in _RENUMBER:
                            connection.execute(sql)
        except BaseException:
            connection.close()
            raise
        return connection

    def settle_home(self, connection: Connection) -> None:
        """Let folder and database name each other. Blocks. Raises WrongDatabase."""
        nodes = value_of(connection, _NODES)
        if nodes is not None:
            raise WrongDatabase(f"{self.server.name}: {nodes} share it; start with --node NAME")
        kept = connection.execute(_NODE).fetchone()
        own = Home(self.node, self.place, self.server.name, self.server.url)
        node = settle_home(self.data, own, kept[0] if kept else None, move_here=self.move_here)
        connection.execute(_SET_NODE, (node,))

    def again(self) -> Connection:
        """Open it again. Blocks. Raises DatabaseInUse if another server had the database since."""
        connection = connect(self.server, self.application, answer_s=LOCK_WAIT_S + ANSWER_S)
        try:
            with mapped_errors(self.server):
                try:
                    self.lock(connection)
                except DatabaseInUse as error:
                    raise StorageUnavailable(str(error)) from error
                self.check_turn(connection)
            connection.answer_s = ANSWER_S
        except BaseException:
            connection.close()
            raise
        return connection

    def take_turn(self, connection: Connection) -> None:
        """Count this server in the database."""
        self._turn = value_of(connection, _TURN)

    def check_turn(self, connection: Connection) -> None:
        """Raise DatabaseInUse if another server was counted since."""
        if value_of(connection, _TURN_NOW) != self._turn:
            raise DatabaseInUse(f"{self.server.name}: another server has used it meanwhile, so this one ends")

    def lock(self, connection: Connection) -> None:
        """Take the lock of the database. Blocks. Raises DatabaseInUse."""
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S * 1000:.0f}ms'")
        try:
            connection.execute(_LOCK)
        except psycopg.errors.LockNotAvailable:
            holder = connection.execute(_HOLDER).fetchone()
            name = "another server" if holder is None else f"{holder[0]} on {holder[1]}"
            raise DatabaseInUse(
                f"{self.server.name}: it is in use by {name}; it serves one server at a time"
            ) from None
        connection.execute("SET lock_timeout = 0")


def value_of(connection: Connection, sql: str) -> Any:
    """Return the one value of a statement that has one. Blocks."""
    found = connection.execute(sql).fetchone()
    if found is None:
        raise StorageError(f"no answer to {sql}")
    return found[0]
