"""How nodes hear of each other: a beat, leases, and mail through the database.

A node that can write to the database is a node: there is no port between nodes, and no other secret. All mail of one
node to another arrives in the order of its posting.

One connection posts (`mail_out.py`). Another one listens, fetches and beats. After a lost connection both open again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import attrs
import psycopg
import trio
from psycopg import sql

from storage.errors import DatabaseInUse, StorageError
from storage.node_records import Mail, NodeState
from storage.postgres.connection import Connection, PostgresServer, mapped_errors
from storage.postgres.nodes.beat import Beat, beat
from storage.postgres.nodes.clock import ClockCheck
from storage.postgres.nodes.mail_out import RETRY_S, MailOut, connect_node
from storage.postgres.nodes.opening import LEASE_S
from storage.postgres.nodes.tables import KEYS_CHANNEL

__all__ = ["BEAT_S", "PostOffice"]

BEAT_S: Final = 0.4
"""Seconds between two beats."""

HEADLESS: Final = int(LEASE_S / BEAT_S)
"""Beats without a first node that is well; then the connection of the one before is ended."""

CLOCK_EVERY: Final = 25
"""Beats between two looks at the clock."""

TIDY_EVERY: Final = 100
"""Beats between two removals of old mail, that of nodes which never came back."""

_FETCH: Final = """
DELETE FROM mail WHERE node = $1
RETURNING number, extract(epoch FROM clock_timestamp() - sent_at)::float8, body
"""
_LEAVE: Final = "UPDATE node SET lease_until = clock_timestamp() WHERE id = $1 AND incarnation = $2"
_TIDY: Final = "DELETE FROM mail WHERE sent_at < clock_timestamp() - interval '1 minute'"

_log = logging.getLogger("builderos.storage")


@attrs.frozen
class _Seen:
    """What one round saw. `beat`: None if it was not one."""

    mail: Sequence[Mail]
    beat: Beat | None


@attrs.define(eq=False)
class PostOffice:
    """This node's post. `run` does the work; nothing here blocks the event loop.

    Attributes:
        node, incarnation: of this node.
        clock: compares this machine's clock with the database's.
        on_mail: called with what arrived, in order. Must not block or raise.
        on_nodes: called after a node came, went or started again, and after this one was away. Must not block or
            raise.
        on_keys: called after keys or codes changed; the beat counts only once it has returned.
        connections: returns how many devices are connected here. Called on a thread.
        nodes: all that were ever there, as the last beat saw them.
        beat_at: when the last good beat began, by Trio's clock.
        is_first: whether this node does what only one may do. It does so until its connection is lost.
        first_changed: set when that changes; then another one takes its place.
    """

    server: PostgresServer
    application: str
    node: str
    incarnation: int
    clock: ClockCheck
    on_mail: Callable[[Sequence[Mail]], None] = attrs.field(default=lambda _: None, init=False)
    on_nodes: Callable[[], None] = attrs.field(default=lambda: None, init=False)
    on_keys: Callable[[], Awaitable[None]] = attrs.field(default=trio.lowlevel.checkpoint, init=False)
    connections: Callable[[], int] = attrs.field(default=lambda: 0, init=False)
    nodes: Mapping[str, NodeState] = attrs.field(factory=dict, init=False)
    beat_at: float = attrs.field(default=-math.inf, init=False)
    is_first: bool = attrs.field(default=False, init=False)
    first_changed: trio.Event = attrs.field(factory=trio.Event, init=False)
    _out: MailOut = attrs.field(init=False)
    _beaten: trio.Event = attrs.field(factory=trio.Event, init=False)
    _keys: str | None = attrs.field(default=None, init=False)
    _heard: list[str] = attrs.field(factory=list, init=False)
    _beats: int = attrs.field(default=0, init=False)
    _headless: int = attrs.field(default=0, init=False)

    @_out.default
    def _make_out(self) -> MailOut:
        return MailOut(self.server, self.application)

    def post(self, node: str, body: bytes, *, within_s: float = math.inf, bulk: bool = False) -> trio.Event:
        """Post a mail; return what is set once it is posted or dropped. Never blocks. Arguments as of `MailOut.post`."""
        return self._out.post(node, body, within_s=within_s, bulk=bulk)

    @property
    def silent_s(self) -> float:
        """Seconds since the last good beat began."""
        return trio.current_time() - self.beat_at

    async def is_fresh(self, within_s: float, wait_s: float) -> bool:
        """Return whether a beat began in the last `within_s`; waits up to `wait_s` for one."""
        with trio.move_on_after(wait_s):  # noqa: ASYNC912 - a good beat may be there
            while self.silent_s > within_s:
                await self._beaten.wait()
        return self.silent_s <= within_s

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Beat, post and fetch, until cancelled. At the end the other nodes learn that this one left.

        Raises:
            DatabaseInUse: another node has this name now.
            StorageError: the first beat failed.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._out.run, name="mail out")
            await nursery.start(self._fetch, name="mail in")
            task_status.started()

    async def _fetch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        connection: Connection | None = None
        next_beat = -math.inf
        try:
            while True:
                began = trio.current_time()
                is_beat = began >= next_beat
                try:
                    if connection is None:
                        connection = await trio.to_thread.run_sync(self._open)
                    seen = await trio.to_thread.run_sync(self._look, connection, is_beat)
                    await self._take(seen, began)
                    if is_beat:
                        next_beat = began + BEAT_S
                        task_status.started()
                        task_status = trio.TASK_STATUS_IGNORED
                    if await self._wait(connection, next_beat):
                        next_beat = -math.inf
                except DatabaseInUse:
                    raise
                except StorageError as error:
                    if self.beat_at == -math.inf:
                        raise
                    _log.warning("other nodes are not heard: %s", error)
                    if connection is not None:
                        connection.close()
                    self._set_first(False)
                    connection, next_beat = None, -math.inf
                    await trio.sleep(RETRY_S)
        finally:
            if connection is not None:
                with trio.CancelScope(shield=True):  # noqa: ASYNC912 - bounded by the connection's own limits
                    await trio.to_thread.run_sync(self._leave, connection)

    async def _take(self, seen: _Seen, began: float) -> None:
        if seen.mail:
            self.on_mail(seen.mail)
        if seen.beat is None:
            return
        if self._keys != seen.beat.keys:
            await self.on_keys()
            self._keys = seen.beat.keys
        nodes = {one.id: one for one in seen.beat.nodes}
        was_away = began - self.beat_at > LEASE_S  # nobody knows what the others did meanwhile
        changed, self.nodes = was_away or nodes != self.nodes, nodes
        self.beat_at = began
        self._set_first(seen.beat.is_first)
        self._beaten.set()
        self._beaten = trio.Event()
        if changed:
            self.on_nodes()

    def _set_first(self, is_first: bool) -> None:
        if is_first != self.is_first:
            self.is_first = is_first
            self.first_changed.set()
            self.first_changed = trio.Event()

    async def _wait(self, connection: Connection, until: float) -> bool:
        """Wait for a notification or a moment; return whether keys changed. Raises StorageError."""
        with mapped_errors(self.server):
            if not self._heard:  # what came during a statement is read from the socket already
                with trio.move_on_at(until):
                    await trio.lowlevel.wait_readable(connection.fileno())
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                self._heard.append(notice.relname.decode())
        heard = set(self._heard)
        self._heard.clear()
        return KEYS_CHANNEL in heard

    def _open(self) -> Connection:
        made = connect_node(self.server, self.application)
        made.add_notify_handler(lambda notice: self._heard.append(notice.channel))
        with mapped_errors(self.server):
            for channel in (f"bos_{self.node}", KEYS_CHANNEL):
                made.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        return made

    def _look(self, connection: Connection, is_beat: bool) -> _Seen:
        """Beat if it is time, and fetch. On a thread. Raises DatabaseInUse if this node was replaced."""
        with mapped_errors(self.server):
            seen: Beat | None = None
            if is_beat:
                seen = beat(
                    connection,
                    self.server,
                    self.node,
                    self.incarnation,
                    connections=self.connections(),
                    was_first=self.is_first,
                    ends_first=self._headless >= HEADLESS,
                )
                self._headless = self._headless + 1 if seen.is_headless else 0
                if self._beats % CLOCK_EVERY == 0:
                    self.clock.look(connection)
                self._beats += 1
                if self._beats % TIDY_EVERY == 0:
                    connection.execute(_TIDY)
            found = connection.execute(_FETCH, (self.node,), binary=True).fetchall()
        return _Seen([Mail(age_s, bytes(body)) for _, age_s, body in sorted(found)], seen)

    def _leave(self, connection: Connection) -> None:
        try:
            connection.execute(_LEAVE, (self.node, self.incarnation), binary=True)
        except psycopg.Error as error:
            _log.debug("the other nodes learn of the end by the lease: %s", type(error).__name__)
        connection.close()
