"""The mail of a node on its way out: two queues, and the one connection that posts them in batches."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs
import trio

from storage.errors import StorageError
from storage.postgres.connection import Connection, PostgresServer, connect, mapped_errors

__all__ = ["RETRY_S", "MailOut", "connect_node"]

RETRY_S: Final = 0.2
"""Seconds after which a lost connection is opened again."""

POSTED_AT_ONCE: Final = 200

BULK_AT_ONCE: Final = 512 * 1024
"""Bytes of bulk that are posted at once: what a device waits for comes soon after."""

WAITING: Final = 20_000
"""Mails that wait to be posted; with more, the oldest are dropped."""

ANSWER_S: Final = 3.0
"""Seconds to wait for an answer; the leases of the nodes are not longer."""

# Else the database keeps the connection of a node that is cut off, and its lock, for hours.
_SETTINGS: Final = (
    "-c synchronous_commit=off -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=10000"
)
_POST: Final = "INSERT INTO mail (node, body) SELECT * FROM unnest($1::text[], $2::bytea[])"
_NOTIFY: Final = "SELECT pg_notify('bos_' || node, '') FROM unnest($1::text[]) AS to_be_woken (node)"

_log = logging.getLogger("builderos.storage")


def connect_node(server: PostgresServer, application: str) -> Connection:
    """Return a connection for the mail or the beat of a node. Blocks. Raises StorageError."""
    return connect(server, application, _SETTINGS, answer_s=ANSWER_S)


@attrs.frozen(eq=False)
class _Outgoing:
    node: str
    body: bytes
    until: float
    posted: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class MailOut:
    """What this node posts to others. `run` does the work; nothing here blocks the event loop."""

    server: PostgresServer
    application: str
    _queue: deque[_Outgoing] = attrs.field(factory=deque, init=False)
    _bulk: deque[_Outgoing] = attrs.field(factory=deque, init=False)
    _work: trio.Event = attrs.field(factory=trio.Event, init=False)

    def post(self, node: str, body: bytes, *, within_s: float = math.inf, bulk: bool = False) -> trio.Event:
        """Post a mail; return what is set once it is posted or dropped. Never blocks.

        Args:
            within_s: it is dropped if it cannot be posted so long.
            bulk: it lets all other mail pass, and keeps its order among bulk alone. Its sender bounds how much waits.
        """
        item = _Outgoing(node, body, trio.current_time() + within_s)
        queue = self._bulk if bulk else self._queue
        queue.append(item)
        if len(queue) > WAITING:
            queue.popleft().posted.set()
        self._work.set()
        return item.posted

    async def run(self) -> None:
        """Post what waits, in order, until cancelled."""
        connection: Connection | None = None
        batch: list[_Outgoing] = []
        try:
            while True:
                await self._work.wait()
                self._work = trio.Event()
                while batch or self._queue or self._bulk:
                    batch = batch or self._next_batch()
                    try:
                        connection = await trio.to_thread.run_sync(self._send, connection, batch)
                    except StorageError as error:
                        connection = None
                        _log.warning("mail to other nodes is not posted yet: %s", error)
                        await trio.sleep(RETRY_S)
                        batch = [one for one in batch if self._is_good(one)]
                        continue
                    for one in batch:
                        one.posted.set()
                    batch = []
        finally:
            if connection is not None:
                connection.close()

    def _next_batch(self) -> list[_Outgoing]:
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), POSTED_AT_ONCE))]
        size = 0
        while self._bulk and size < BULK_AT_ONCE:
            size += len(self._bulk[0].body)
            taken.append(self._bulk.popleft())
        return [one for one in taken if self._is_good(one)]

    def _is_good(self, item: _Outgoing) -> bool:
        if trio.current_time() <= item.until:
            return True
        item.posted.set()
        return False

    def _send(self, connection: Connection | None, batch: Sequence[_Outgoing]) -> Connection:
        """Post a batch, in order. On a thread."""
        made = connection or connect_node(self.server, self.application)
        nodes, bodies = [one.node for one in batch], [one.body for one in batch]
        try:
            with mapped_errors(self.server), made.pipeline():
                made.execute("BEGIN")
                made.execute(_POST, (nodes, bodies), binary=True)
                made.execute(_NOTIFY, (sorted(set(nodes)),), binary=True)
                made.execute("COMMIT")
        except BaseException:
            made.close()
            raise
        return made
