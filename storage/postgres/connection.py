"""Opens PostgreSQL, and maps its errors to storage errors in one place.

Every connection passes through `connect`. Every psycopg exception that leaves this package passes through
`storage_error`, which decides by its class and never by its text: a text may contain what was stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import attrs
import psycopg
from psycopg import conninfo
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper
from psycopg.types.string import StrDumper

from storage.errors import StorageCorrupt, StorageError, StorageFull, StorageReadOnly, StorageUnavailable

__all__ = [
    "ANSWER_S",
    "Connection",
    "PostgresServer",
    "Silent",
    "connect",
    "is_lost",
    "mapped_errors",
    "storage_error",
]

T = TypeVar("T")

CONNECT_S: Final = 3
"""Seconds that one attempt to connect may take, for each host of the URL."""

ANSWER_S: Final[float] = 10
"""Seconds that a server may take to answer one statement, unless a connection says otherwise."""


class Silent(psycopg.OperationalError):
    """The server took longer for an answer than the connection waits."""


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection to a server that may hang: TCP then still acknowledges what is sent, and no error comes.

    Attributes:
        answer_s: seconds to wait for the answer to a statement; then the connection ends. None: without a limit.
    """

    answer_s: float | None = ANSWER_S

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for an answer. Blocks. Raises Silent, after which the connection is closed."""
        try:
            return super().wait(gen, timeout=self.answer_s)
        except psycopg.errors._WaitTimeout:  # a private name of a version that is pinned
            self.close()
            raise Silent from None


_DEFAULTS: Final[dict[str, str | int]] = {
    "connect_timeout": CONNECT_S,
    "target_session_attrs": "read-write",
    "tcp_user_timeout": 3000,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
"""A server that is gone is noticed within seconds. A value in the URL counts before these."""

# One state for a transaction of several statements. The server too must notice a client that is gone, since that holds
# a lock. A forgotten transaction must not hold back the readers of all
# journals (`storage.postgres.changes`).
_SETTINGS: Final = (
    "-c default_transaction_isolation=repeatable\\ read -c idle_in_transaction_session_timeout=10s"
    " -c synchronous_commit=on -c client_min_messages=error -c tcp_user_timeout=5000"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)

_ROLES: Final[tuple[tuple[type[psycopg.Error], type[StorageError], str], ...]] = (
    (psycopg.errors.DiskFull, StorageFull, "no space left on its disk"),
    (psycopg.errors.ReadOnlySqlTransaction, StorageReadOnly, "it takes no writes now: is it a standby?"),
    (psycopg.errors.InsufficientPrivilege, StorageReadOnly, "the role may not do this in it"),
    (psycopg.errors.InvalidPassword, StorageUnavailable, "it does not accept the password"),
    (psycopg.errors.InvalidAuthorizationSpecification, StorageUnavailable, "it does not accept the role"),
    (psycopg.errors.InvalidCatalogName, StorageUnavailable, "there is no such database; create it first"),
    (psycopg.errors.QueryCanceled, StorageUnavailable, "interrupted"),
    (psycopg.errors.DataCorrupted, StorageCorrupt, "the database is damaged; restore a backup"),
    (psycopg.errors.IndexCorrupted, StorageCorrupt, "the database is damaged; restore a backup"),
    (psycopg.errors.UndefinedTable, StorageCorrupt, "a table is missing; restore a backup"),
    (psycopg.errors.InsufficientResources, StorageUnavailable, "it has no room for this now"),
    (Silent, StorageUnavailable, "it does not answer"),
    (psycopg.OperationalError, StorageUnavailable, "it cannot be reached now"),
    (psycopg.InterfaceError, StorageUnavailable, "the connection was lost"),
)


@attrs.frozen
class PostgresServer:
    """Where the database is. Only `parse` makes one.

    Attributes:
        name: for people and error texts; without a password.
        url: what was given, without a password.
    """

    conninfo: str = attrs.field(repr=False)
    name: str
    url: str

    @classmethod
    def parse(cls, url: str) -> PostgresServer:
        """Return the server of a `postgresql://` URL. Raises ValueError for one that cannot be read."""
        try:
            given = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise ValueError("not a valid postgresql:// URL") from None
        url = conninfo.make_conninfo(
            "", **{name: value for name, value in given.items() if "password" not in name}
        )
        given = {**_DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
        given["options"] = f"{given.get('options') or ''} {_SETTINGS}".strip()
        where = str(given.get("host") or given.get("hostaddr") or "local socket")
        name = f"database {given.get('dbname') or given.get('user') or 'postgres'} on {where}"
        return cls(conninfo.make_conninfo("", **given), name, url)


def connect(
    server: PostgresServer, application: str, settings: str = "", *, answer_s: float | None = ANSWER_S
) -> Connection:
    """Open a connection in autocommit mode. Blocks, for some seconds at most.

    Args:
        application: its name in `pg_stat_activity`.
        settings: more of the server's settings for it, as `-c name=value`.
        answer_s: how long it waits for the answer to a statement; None: without a limit.

    Raises:
        StorageUnavailable: it cannot be opened.
    """
    options = f"{conninfo.conninfo_to_dict(server.conninfo)['options']} {settings}".strip()
    given = conninfo.make_conninfo(server.conninfo, application_name=application, options=options)
    with mapped_errors(server):
        made = Connection.connect(
            given, autocommit=True, prepare_threshold=2, cursor_factory=psycopg.RawCursor
        )
    made.answer_s = answer_s
    made.adapters.register_dumper(str, _TextDumper)
    made.adapters.register_dumper(int, Int8Dumper)  # in lists
    made.adapters.register_dumper(int, Int8BinaryDumper)
    made.adapters.register_loader("text", _TextLoader)
    return made


def is_lost(connection: Connection, error: psycopg.Error) -> bool:
    """Return whether a connection is of no use after an error."""
    ended = psycopg.errors.AdminShutdown, psycopg.errors.CrashShutdown, psycopg.errors.CannotConnectNow
    return connection.closed or connection.broken or isinstance(error, ended)


def storage_error(error: psycopg.Error, server: PostgresServer) -> StorageError:
    """Return the storage error for one of PostgreSQL's, with one line that names the database."""
    for theirs, ours, cause in _ROLES:
        if isinstance(error, theirs):
            return ours(f"{server.name}: {cause}")
    return StorageError(f"{server.name}: unexpected {type(error).__name__} ({error.sqlstate})")


@contextmanager
def mapped_errors(server: PostgresServer) -> Iterator[None]:
    """Raise psycopg's errors in the block as `storage_error` maps them, without their own texts."""
    try:
        yield
    except psycopg.Error as error:
        raise storage_error(error, server) from None


# PostgreSQL's text has no U+0000, and SQLite's has. So it is stored as two characters that no text has else.

_ESCAPE: Final = "\ufdd0"
_ESCAPES: Final = {"\0": _ESCAPE + "0", _ESCAPE: _ESCAPE + "1"}
_UNESCAPES: Final = {escaped: plain for plain, escaped in _ESCAPES.items()}
_PLAIN: Final = re.compile("[\0\ufdd0]")
_ESCAPED: Final = re.compile("\ufdd0[01]")


def _escaped(text: str) -> str:
    if "\0" not in text and _ESCAPE not in text:
        return text
    return _PLAIN.sub(lambda found: _ESCAPES[found[0]], text)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPES[found[0]], text) if _ESCAPE in text else text


class _TextDumper(StrDumper):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(_escaped(obj))


class _TextLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return _unescaped(bytes(data).decode())
