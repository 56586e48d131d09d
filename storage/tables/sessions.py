"""The list of sessions in SQLite: `Catalog` of `actors.ports`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from sys import intern
from typing import Any, ClassVar, Protocol

import attrs
import trio

from storage.errors import OutcomeUnknown, SessionExists, SessionMissing, StorageUnavailable
from storage.records import OWNER, NewSession, SessionRecord, Summary
from storage.transaction import TableReaders, TableWriter, Transaction

__all__ = ["SessionFiles", "SqliteCatalog"]

_log = logging.getLogger("builderos.storage")

_CREATE = """
INSERT INTO session
  (session_id, agent_type, device_id, settings, created_at_ms, last_activity_ms, workspace, hidden, owner)
SELECT ?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM removal WHERE session_id = ?1)
ON CONFLICT (session_id) DO NOTHING
"""
_RECORD = """
SELECT session_id, agent_type, device_id, settings, created_at_ms, last_activity_ms,
       epoch, owner_epoch, head_seq, coalesce(snapshot_seq, 0), read_seq, coalesce(content, ''),
       workspace, pinned, archived, owner,
       title, state, message_count, pending_count, unfinished, snapshot, hub_id, hub_seq, due_at_ms, shown
FROM session LEFT JOIN summary USING (session_id) LEFT JOIN draft USING (session_id)
"""
_GET_ANY = _RECORD + "WHERE session_id = ?"
_GET = _GET_ANY + " AND hidden = 0"
_SHOWN = (
    "hidden = 0 AND (CAST(?2 AS BIGINT) IS NULL OR archived = ?2)"
    " AND (CAST(?3 AS TEXT) IS NULL OR workspace = ?3)"
)
_BY_ACTIVITY = "ORDER BY last_activity_ms DESC, session_id DESC LIMIT ?1"
_PAGE = f"{_RECORD} WHERE {_SHOWN} {_BY_ACTIVITY}"
_PAGE_BEFORE = f"{_RECORD} WHERE {_SHOWN} AND (last_activity_ms, session_id) < (?4, ?5) {_BY_ACTIVITY}"
_COUNT = "SELECT count(*) FROM session"
_UNFINISHED = "SELECT session_id FROM summary WHERE unfinished = 1 ORDER BY session_id"
_DUE = "SELECT session_id, due_at_ms FROM summary WHERE due_at_ms IS NOT NULL ORDER BY due_at_ms LIMIT ?"
_UNREAD = """
SELECT count(*) FROM journal WHERE session_id = ? AND seq > ? AND kind IN ('user_message', 'turn_started')
"""
_EXISTS = "SELECT 1 FROM session WHERE session_id = ?"
_READ_MARK = "UPDATE session SET read_seq = ?2 WHERE session_id = ?1 AND read_seq < ?2"
_PINNED = "UPDATE session SET pinned = ?2 WHERE session_id = ?1"
_ARCHIVED = "UPDATE session SET archived = ?2 WHERE session_id = ?1"
_DRAFT = """
INSERT INTO draft (session_id, content) VALUES (?, ?)
ON CONFLICT (session_id) DO UPDATE SET content = excluded.content
"""
_NO_DRAFT = "DELETE FROM draft WHERE session_id = ?"
_KEEP_OFFER = """
INSERT INTO agent_offer (agent_type, offer) VALUES (?, ?)
ON CONFLICT (agent_type) DO UPDATE SET offer = excluded.offer
"""
_OFFER = "SELECT offer FROM agent_offer WHERE agent_type = ?"
_REVEAL = "UPDATE session SET hidden = 0 WHERE session_id = ?"
_HIDDEN = "SELECT session_id FROM session WHERE hidden = 1"
_SHARE_UPLOADS = """
INSERT INTO upload_use (session_id, name) SELECT ?1, name FROM upload_use WHERE session_id = ?2
ON CONFLICT DO NOTHING
"""
_REMOVALS = "SELECT session_id FROM removal"
_IS_REMOVED = "SELECT 1 FROM removal WHERE session_id = ?"
_NOTE_REMOVAL = "INSERT INTO removal (session_id) VALUES (?)"
_REMOVE = (
    "DELETE FROM session WHERE session_id = ?",
    "DELETE FROM summary WHERE session_id = ?",
    _NO_DRAFT,
)
_REMOVE_FOUND = """
DELETE FROM search WHERE rowid IN
  (SELECT commit_no FROM journal WHERE session_id = ?1 AND searchable = 1
   AND seq <= (SELECT max(seq) FROM (SELECT seq FROM journal WHERE session_id = ?1 ORDER BY seq LIMIT ?2) AS first))
"""
_REMOVE_ROWS = """
DELETE FROM journal WHERE session_id = ?1
  AND seq <= (SELECT max(seq) FROM (SELECT seq FROM journal WHERE session_id = ?1 ORDER BY seq LIMIT ?2) AS first)
"""
_REMOVE_COMMANDS = """
DELETE FROM command WHERE session_id = ?1 AND command_id IN
  (SELECT command_id FROM command WHERE session_id = ?1 ORDER BY command_id LIMIT ?2)
"""
_REMOVED = "DELETE FROM removal WHERE session_id = ?"
_SET_ASIDE = (
    """
    INSERT INTO session (session_id, agent_type, device_id, settings, created_at_ms, last_activity_ms, head_seq)
    SELECT ?2, agent_type, device_id, settings, created_at_ms, last_activity_ms, head_seq
    FROM session WHERE session_id = ?1
    """,
    "UPDATE journal SET session_id = ?2 WHERE session_id = ?1",
    "DELETE FROM command WHERE session_id = ?1",
    """
    UPDATE session SET epoch = epoch + 1, owner_epoch = owner_epoch + 1, head_seq = 0, read_seq = 0
    WHERE session_id = ?1
    """,
)

REMOVED_AT_ONCE = 128
"""Rows of a removed session that one transaction deletes, so that appends do not wait for a long history."""


class SessionFiles(Protocol):
    """The files of sessions, beside the database."""

    async def remove_of(self, session_id: str) -> None:
        """Remove a session's files. Idempotent. Raises StorageUnavailable if some are left."""
        ...

    async def link_of(self, session_id: str, source_id: str) -> None:
        """Let a session share the blobs of another one. Idempotent. Raises StorageUnavailable."""
        ...


@attrs.define(eq=False)
class SqliteCatalog:
    """Implements `actors.ports.Catalog`; see there for errors and cancellation.

    Attributes:
        owner: whose sessions are created, recovered and cleaned up here.
    """

    _writer: TableWriter
    _readers: TableReaders
    _files: SessionFiles
    owner: str = OWNER
    _count: int | None = attrs.field(default=None, init=False)
    """Number of sessions; None if only the database knows."""

    async def load(self) -> None:
        """Count the sessions. Afterwards `count` needs no reader. Raises StorageCorrupt, StorageUnavailable."""
        self._count = await self.count()

    async def create(self, session: NewSession) -> SessionRecord:
        """Create a session, durably."""
        with self._counted():
            made = await self._writer.submit(partial(_create, session, self.owner), durable=True)
        self._add(1)
        return made

    async def get(self, session_id: str) -> SessionRecord | None:
        """Return one session."""
        return await self._readers.run(lambda connection: _get(connection, session_id))

    async def page(
        self,
        limit: int,
        before: tuple[int, str] | None = None,
        *,
        archived: bool | None = None,
        workspace: str | None = None,
    ) -> Sequence[SessionRecord]:
        """Return sessions, the most recently used first."""
        bound = (limit, None if archived is None else int(archived), workspace)
        if before is None:
            rows = await self._readers.all(_PAGE, bound)
        else:
            rows = await self._readers.all(_PAGE_BEFORE, (*bound, *before))
        return [_record(row) for row in rows]

    async def count(self) -> int:
        """Return how many sessions there are."""
        if self._count is not None:
            await trio.lowlevel.checkpoint()
            return self._count
        found = await self._readers.run(lambda connection: connection.execute(_COUNT).get)
        return int(found)

    async def unfinished(self) -> Sequence[str]:
        """Return the sessions that need recovery."""
        rows = await self._readers.all(_UNFINISHED)
        return [session_id for (session_id,) in rows]

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """Return which sessions are due next, and when."""
        return [(name, at) for name, at in await self._readers.all(_DUE, (limit,))]

    async def unread_count(self, session_id: str, after: int) -> int:
        """Return how many messages and answers begin after `after`."""
        bound = (session_id, after)
        found = await self._readers.run(lambda connection: connection.execute(_UNREAD, bound).get)
        return int(found)

    async def note(
        self,
        session_id: str,
        *,
        read_seq: int | None = None,
        draft: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Store a read mark, a draft, a pin or an archived flag."""
        job = partial(_note, session_id, read_seq, draft, pinned, archived)
        await self._writer.submit(job, durable=False)

    async def reveal(self, session_id: str, *, files_of: str) -> None:
        """Reveal a session that was created hidden."""
        await self._files.link_of(session_id, files_of)
        await self._writer.submit(partial(_reveal, session_id, files_of), durable=True)

    async def remove_hidden(self, session_id: str) -> None:
        """Remove a session that was not revealed."""
        with trio.CancelScope(shield=True):  # noqa: ASYNC912 - bounded by the writer; the next start does the rest
            try:
                await self.remove(session_id)
            except (SessionMissing, StorageUnavailable) as error:
                _log.warning(
                    "session %s: abandoned, but cannot be removed until the next start: %s", session_id, error
                )

    async def keep_offer(self, agent_type: str, offer: bytes) -> None:
        """Store what an agent offers."""
        await self._writer.submit(partial(_keep_offer, agent_type, offer), durable=False)

    async def offer_of(self, agent_type: str) -> bytes | None:
        """Return the last stored offer of an agent."""
        found = await self._readers.run(lambda connection: connection.execute(_OFFER, (agent_type,)).get)
        return None if found is None else bytes(found)

    async def remove(self, session_id: str) -> None:
        """Remove a session forever, with its journal and its files. Its owner must have stopped: a later append fails.

        The session is removed durably before its rows are. After a cancellation or a kill, the next start removes the
        remaining rows. Until then the id cannot be reused.

        Raises:
            SessionMissing: there is no such session, and none that is being removed.
            StorageUnavailable: it may be removed already, with rows left.
        """
        with self._counted():
            remove = partial(_remove, session_id, self.note_removal)
            is_new = await self._writer.submit(remove, durable=True)
        self._add(-int(is_new))
        await self._files.remove_of(session_id)  # before the id can be reused
        while await self._writer.submit(
            partial(_remove_rows, session_id), durable=False, rows=REMOVED_AT_ONCE
        ):
            pass

    async def set_aside(self, session_id: str, aside_id: str) -> None:
        """Move a session's whole journal to a new session `aside_id`, so that it can be written again.

        The session stays, empty, in the next epoch and with its summary; its owner is fenced off. One transaction moves
        all rows: meant for a database that no server has open.

        Raises:
            SessionMissing: there is no such session.
            SessionExists: `aside_id` is taken.
            StorageUnavailable: nothing was changed.
        """
        with self._counted():
            await self._writer.submit(partial(_set_aside, session_id, aside_id), durable=False)
        self._add(1)

    async def finish_removals(self) -> None:
        """Continue the removals that an earlier run of the server began."""
        hidden, removals = await self.left_over()
        for session_id in hidden:
            await self.remove_hidden(session_id)
        for session_id in removals:
            try:
                await self.remove(session_id)
            except StorageUnavailable as error:
                _log.error(
                    "session %s: not completely removed, the next start tries again: %s", session_id, error
                )

    note_removal: ClassVar[str] = _NOTE_REMOVAL
    """Notes that a session is being removed."""

    async def left_over(self) -> tuple[Sequence[str], Sequence[str]]:
        """Return the sessions that were never revealed, and those whose removal has begun."""
        hidden, removals = await self._readers.all(_HIDDEN), await self._readers.all(_REMOVALS)
        return [name for (name,) in hidden], [name for (name,) in removals]

    def _add(self, change: int) -> None:
        if self._count is not None:
            self._count += change

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """After a commit with an unknown outcome, let the database count the sessions."""
        try:
            yield
        except OutcomeUnknown:
            self._count = None
            raise


def _create(session: NewSession, owner: str, connection: Transaction) -> SessionRecord:
    keys = (session.session_id, session.agent_type, session.device_id)
    more = (session.settings, session.created_at_ms, session.workspace, int(session.hidden), owner)
    connection.execute(_CREATE, (*keys, *more))
    if connection.changes() == 0:
        raise SessionExists(session.session_id)
    row = connection.execute(_GET_ANY, (session.session_id,)).get
    made = None if row is None else _record(row)
    assert made is not None
    return made


def _get(connection: Transaction, session_id: str) -> SessionRecord | None:
    row = connection.execute(_GET, (session_id,)).get
    return None if row is None else _record(row)


def _reveal(session_id: str, files_of: str, connection: Transaction) -> None:
    connection.execute(_SHARE_UPLOADS, (session_id, files_of))
    connection.execute(_REVEAL, (session_id,))


def _keep_offer(agent_type: str, offer: bytes, connection: Transaction) -> None:
    connection.execute(_KEEP_OFFER, (agent_type, offer))


def _note(
    session_id: str,
    read_seq: int | None,
    draft: str | None,
    pinned: bool | None,
    archived: bool | None,
    connection: Transaction,
) -> None:
    if connection.execute(_EXISTS, (session_id,)).get is None:
        raise SessionMissing(session_id)
    if read_seq is not None:
        connection.execute(_READ_MARK, (session_id, read_seq))
    if pinned is not None:
        connection.execute(_PINNED, (session_id, int(pinned)))
    if archived is not None:
        connection.execute(_ARCHIVED, (session_id, int(archived)))
    if draft:
        connection.execute(_DRAFT, (session_id, draft))
    elif draft is not None:
        connection.execute(_NO_DRAFT, (session_id,))


def _remove(session_id: str, note_removal: str, connection: Transaction) -> bool:
    """Remove a session; return False if an earlier call did."""
    if connection.execute(_IS_REMOVED, (session_id,)).get is not None:
        return False
    if connection.execute(_EXISTS, (session_id,)).get is None:
        raise SessionMissing(session_id)
    for sql in (note_removal, *_REMOVE):
        connection.execute(sql, (session_id,))
    return True


def _set_aside(session_id: str, aside_id: str, connection: Transaction) -> None:
    if connection.execute(_EXISTS, (session_id,)).get is None:
        raise SessionMissing(session_id)
    if connection.execute(_EXISTS, (aside_id,)).get is not None:
        raise SessionExists(aside_id)
    for sql in _SET_ASIDE:
        connection.execute(sql, (session_id, aside_id) if "?2" in sql else (session_id,))


def _remove_rows(session_id: str, connection: Transaction) -> bool:
    """Remove some rows; return whether there may be more."""
    bound = (session_id, REMOVED_AT_ONCE)
    connection.execute(_REMOVE_FOUND, bound)
    connection.execute(_REMOVE_ROWS, bound)
    removed = connection.changes()
    connection.execute(_REMOVE_COMMANDS, bound)
    removed = max(removed, connection.changes())
    if removed == 0:
        connection.execute(_REMOVED, (session_id,))
    return removed > 0


def _record(row: tuple[Any, ...]) -> SessionRecord:
    agent_type, device_id, workspace = map(intern, (row[1], row[2], row[12]))  # many sessions have the same
    more = (workspace, bool(row[13]), bool(row[14]), row[15])
    first = (row[0], agent_type, device_id, *row[3:10])
    columns: tuple[Any, ...] = (*first, _summary(row[16:]), *row[10:12], *more)
    return SessionRecord(*columns)


def _summary(columns: tuple[Any, ...]) -> Summary | None:
    if columns[0] is None:
        return None
    values: tuple[Any, ...] = (*columns[:4], bool(columns[4]), *columns[5:])
    return Summary(*values)
