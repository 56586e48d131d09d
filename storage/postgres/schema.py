"""Checks a PostgreSQL server, and makes the tables in an empty database.

They lie in the first schema of the role's search path, `public` unless the database says otherwise.
"""

from __future__ import annotations

from typing import Any, Final

from storage.errors import StorageCorrupt, StorageUnavailable, StorageVersion
from storage.postgres.append import APPEND_FUNCTIONS
from storage.postgres.connection import Connection, PostgresServer
from storage.postgres.nodes.tables import CHUNK_TABLE, NODE_COLUMNS, NODE_TABLES
from storage.postgres.tables import TABLES

__all__ = ["VERSION", "check_version", "prepare_schema"]

VERSION: Final = 4
"""Of these tables; `meta` has it under `schema_version`."""

OLDEST_SERVER: Final = 150000
"""PostgreSQL 15, in the numbering of `server_version_num`."""

_FUNCTIONS: Final = (
    # So that a statement of the tables can turn a JSON list into rows, as SQLite does.
    """
CREATE FUNCTION json_each(list text) RETURNS TABLE (value text) LANGUAGE sql IMMUTABLE STRICT AS
  $$ SELECT json_array_elements_text(list::json) $$
""",
    APPEND_FUNCTIONS,
)

# Two random UUIDs have 244 random bits.
_SECRET: Final = """
INSERT INTO meta (key, value)
VALUES ('app_alias_key', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
"""
_KIND: Final = (
    "SELECT to_regclass('meta') IS NOT NULL, count(*) FROM pg_tables WHERE schemaname = current_schema()"
)
_VERSION: Final = "SELECT value FROM meta WHERE key = 'schema_version'"
_SET_VERSION: Final = f"""
INSERT INTO meta (key, value) VALUES ('schema_version', '{VERSION}') ON CONFLICT (key) DO UPDATE SET value = '{VERSION}'
"""
_STEPS: Final = (NODE_TABLES, NODE_COLUMNS, CHUNK_TABLE)
"""What leads from each version, from 1 on, to the next one."""

_SERVER: Final = """
SELECT current_setting('server_version_num')::bigint, current_setting('server_encoding'),
  current_setting('synchronous_standby_names') = '' AND EXISTS (SELECT 1 FROM pg_stat_replication)
"""


def prepare_schema(connection: Connection, server: PostgresServer, *, allow_asynchronous: bool) -> None:
    """Check the server, and create the tables in an empty database. All or nothing. Blocks.

    Raises:
        StorageVersion: another version of this program made the tables.
        StorageCorrupt: it is another program's database.
        StorageUnavailable: the server is too old, has another encoding, or could lose what was acknowledged.
    """
    _check_server(connection, server, allow_asynchronous=allow_asynchronous)
    known, tables = _row(connection, _KIND)
    if not known:
        if tables:
            raise StorageCorrupt(
                f"{server.name}: it has tables that are not of this program; use an empty one"
            )
        with connection.transaction():
            connection.execute(TABLES)
            for step in _STEPS:
                connection.execute(step)
            for function in _FUNCTIONS:
                connection.execute(function)
            connection.execute(_SECRET)
            connection.execute(_SET_VERSION)
    else:
        _migrate(connection)
    check_version(connection, server)


def _migrate(connection: Connection) -> None:
    found = connection.execute(_VERSION).fetchone()
    version = int(found[0]) if found and found[0].isdigit() else VERSION
    if 1 <= version < VERSION:
        with connection.transaction():
            for step in _STEPS[version - 1 :]:
                connection.execute(step)
            connection.execute(_SET_VERSION)


def check_version(connection: Connection, server: PostgresServer) -> None:
    """Raise StorageVersion or StorageCorrupt unless the tables are of this program's version. Blocks."""
    known, _ = _row(connection, _KIND)
    found = connection.execute(_VERSION).fetchone() if known else None
    if found is None:
        raise StorageCorrupt(f"{server.name}: it has no tables of this program")
    if found[0] != str(VERSION):
        order = "newer" if found[0].isdigit() and int(found[0]) > VERSION else "older"
        raise StorageVersion(f"{server.name}: version {found[0]} is {order} than this program's ({VERSION})")


def _check_server(connection: Connection, server: PostgresServer, *, allow_asynchronous: bool) -> None:
    version, encoding, may_lose = _row(connection, _SERVER)
    if version < OLDEST_SERVER:
        raise StorageUnavailable(f"{server.name}: PostgreSQL 15 or newer is needed, it is {version // 10000}")
    if encoding != "UTF8":
        raise StorageUnavailable(f"{server.name}: its encoding must be UTF8, not {encoding}")
    if may_lose and not allow_asynchronous:
        raise StorageUnavailable(
            f"{server.name}: it has a standby, but synchronous_standby_names is empty: after a fail-over,"
            " acknowledged messages may be gone. Set it, or set allow_asynchronous = true in [database]"
        )


def _row(connection: Connection, sql: str) -> tuple[Any, ...]:
    found = connection.execute(sql).fetchone()
    assert found is not None
    return found
