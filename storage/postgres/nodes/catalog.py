"""The list of sessions of all nodes, and what of it is this node's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

import attrs

from storage.errors import Fenced, SessionMissing
from storage.node_records import Move
from storage.postgres.append import append_call
from storage.postgres.journal import PostgresJournal
from storage.postgres.transaction import PostgresTransaction
from storage.records import OWNER, Entry, Fold, Grant, Summary
from storage.tables.append import Append
from storage.tables.sessions import SqliteCatalog
from storage.transaction import Transaction

__all__ = ["NodeCatalog", "NodeJournal"]

_UNFINISHED: Final = """
SELECT session_id FROM summary JOIN session USING (session_id) WHERE unfinished = 1 AND owner = ? ORDER BY session_id
"""
_DUE: Final = """
SELECT session_id, due_at_ms FROM summary JOIN session USING (session_id)
WHERE due_at_ms IS NOT NULL AND owner = ? ORDER BY due_at_ms LIMIT ?
"""
_HIDDEN: Final = "SELECT session_id FROM session WHERE hidden = 1 AND owner = ?"
_REMOVALS: Final = "SELECT session_id FROM removal WHERE owner = ?"
_ACQUIRE: Final = """
UPDATE session SET owner_epoch = owner_epoch + 1 WHERE session_id = ? AND owner = ? RETURNING owner_epoch, head_seq
"""
_OWNER_OF: Final = "SELECT owner FROM session WHERE session_id = ?"
_HEADS: Final = """
SELECT session_id, owner, epoch, head_seq FROM session WHERE session_id IN (SELECT value FROM json_each(?))
"""
_ELSEWHERE: Final = """
SELECT session_id, owner FROM session WHERE owner <> ? AND session_id IN (SELECT value FROM json_each(?))
"""
_COUNTS: Final = "SELECT owner, count(*) FROM session WHERE hidden = 0 GROUP BY owner"
_MOVE: Final = """
UPDATE session SET owner = ?4, owner_epoch = owner_epoch + 1
WHERE session_id = ?1 AND owner = ?2 AND owner_epoch = ?3 AND NOT
  (?5 = 1::bigint AND EXISTS (SELECT 1 FROM node WHERE id = ?2 AND lease_until > clock_timestamp()))
RETURNING owner_epoch
"""


@attrs.define(eq=False)
class NodeCatalog(SqliteCatalog):
    """Lists the sessions of all nodes. What it recovers and cleans up is this node's. It counts in the database.

    Attributes:
        on_removed: called after a session was removed here. Must not block.
    """

    on_removed: Callable[[str], None] = attrs.field(default=lambda _: None, init=False)

    note_removal: ClassVar[str] = (
        "INSERT INTO removal (session_id, owner) SELECT session_id, owner FROM session WHERE session_id = ?"
    )

    async def load(self) -> None:
        """Do nothing: another node may add a session at any time."""

    async def remove(self, session_id: str) -> None:
        """Remove a session forever, and say so."""
        await super().remove(session_id)
        self.on_removed(session_id)

    async def unfinished(self) -> Sequence[str]:
        """Return the sessions of this node that need recovery."""
        return [name for (name,) in await self._readers.all(_UNFINISHED, (self.owner,))]

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """Return which sessions of this node are due next, and when."""
        return [(name, at) for name, at in await self._readers.all(_DUE, (self.owner, limit))]

    async def left_over(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return what this node has begun and not finished."""
        hidden = await self._readers.all(_HIDDEN, (self.owner,))
        removals = await self._readers.all(_REMOVALS, (self.owner,))
        return [name for (name,) in hidden], [name for (name,) in removals]


@attrs.define(eq=False)
class NodeJournal(PostgresJournal):
    """The journal, of which a node writes only the sessions that are at home on it."""

    owner: str = attrs.field(default=OWNER, kw_only=True)

    async def acquire(self, session_id: str) -> Grant:
        """Take over a session of this node. Raises Fenced if its home is another one."""
        return await self._writer.submit(
            lambda connection: _acquire(connection, session_id, self.owner), durable=False
        )

    async def heads(self, session_ids: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Return home, epoch and head of these sessions, without those that are gone."""
        bound = (json.dumps(list(session_ids)),)
        return {
            name: (home, epoch, head) for name, home, epoch, head in await self._readers.all(_HEADS, bound)
        }

    async def elsewhere(self, session_ids: Sequence[str]) -> dict[str, str]:
        """Return those of these sessions that are at home on other nodes, with their homes."""
        bound = (self.owner, json.dumps(list(session_ids)))
        return dict(await self._readers.all(_ELSEWHERE, bound))

    async def counts(self) -> dict[str, int]:
        """Return how many sessions each node has, of those that have one."""
        return dict(await self._readers.all(_COUNTS))

    async def move(
        self, move: Move, entries: Sequence[Entry], folds: Sequence[Fold], summary: Summary
    ) -> None:
        """Give a session another home, with its last events at the old one. All or nothing, and durable.

        Raises:
            Fenced: its home is another node than the move says, or has a new owner; or it was to be away and is not.
            SequenceConflict: the session is further on.
            StorageUnavailable: nothing was moved.
            OutcomeUnknown: it may have moved.
        """
        await self._writer.submit(partial(_move, move, entries, folds, summary), durable=True)


def _move(
    move: Move, entries: Sequence[Entry], folds: Sequence[Fold], summary: Summary, transaction: Transaction
) -> None:
    assert isinstance(transaction, PostgresTransaction)
    bound = (move.session_id, move.home, move.owner_epoch, move.to, int(move.is_away))
    owner_epoch = transaction.execute(_MOVE, bound).get
    if owner_epoch is None:
        raise Fenced(f"session {move.session_id}: its home is not {move.home} any more, or is back")
    grant = Grant(move.session_id, owner_epoch, move.head_seq)
    call = append_call(Append(grant, move.head_seq, entries, folds, summary))
    found = transaction.connection.execute(call.sql, call.bound(), binary=True).fetchone()
    assert found is not None
    call.finish(found[0])


def _acquire(connection: Transaction, session_id: str, owner: str) -> Grant:
    found: tuple[Any, ...] | None = connection.execute(_ACQUIRE, (session_id, owner)).get
    if found is not None:
        return Grant(session_id, *found)
    home = connection.execute(_OWNER_OF, (session_id,)).get
    if home is None:
        raise SessionMissing(session_id)
    raise Fenced(f"session {session_id}: its home is {home}")
