"""The same store in memory, for tests of what stands on it: no threads, so a mock clock may be used.

It passes the same contract suite as the SQLite one (`tests/storage/journal_contract.py`). Every call goes through
`enter` first: a test that needs slow or failing storage replaces that one method.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import count

import attrs
import trio

from storage.errors import (
    Fenced,
    FoldMismatch,
    SequenceConflict,
    SessionExists,
    SessionMissing,
    StorageError,
    StorageUnavailable,
)
from storage.records import (
    OWNER,
    PIECE_KINDS,
    CommandRecord,
    Entry,
    Fold,
    Grant,
    Head,
    NewSession,
    Row,
    SessionRecord,
    Summary,
)
from storage.tables.journal import MESSAGE_KINDS, PAGE_BYTES

__all__ = ["MemoryStore", "StoredSession"]


@attrs.define
class StoredSession:
    """One session: its record, its rows, and what it knows of commands."""

    record: SessionRecord
    rows: list[Row] = attrs.field(factory=list)
    commands: dict[str, CommandRecord] = attrs.field(factory=dict)


@attrs.define(eq=False)
class MemoryStore:
    """`Journal`, `Ownership` and `Catalog` in one. Each call is a checkpoint, and atomic.

    Attributes:
        unavailable: while set, everything that writes raises it, `check_writable` too.
        read_error: while set, what reads rows raises it, `check_writable` too; the catalog works.
        appends: how many appends took effect.
    """

    owner: str = OWNER
    unavailable: StorageUnavailable | None = None
    read_error: Exception | None = None
    appends: int = 0
    _sessions: dict[str, StoredSession] = attrs.field(factory=dict, init=False)
    _hidden: set[str] = attrs.field(factory=set, init=False)
    _offers: dict[str, bytes] = attrs.field(factory=dict, init=False)
    _commit_nos: Iterator[int] = attrs.field(factory=lambda: count(1), init=False)
    _failure: tuple[StorageError, bool] | None = attrs.field(default=None, init=False)

    async def enter(self, *, writes: bool) -> None:
        """What every call does first: let others run, and raise what storage meets now."""
        await trio.lowlevel.checkpoint()
        if writes and self.unavailable is not None:
            raise self.unavailable

    async def _enter_rows(self, *, writes: bool) -> None:
        await self.enter(writes=writes)
        if self.read_error is not None:
            raise self.read_error

    def fail_next_append(self, error: StorageError, *, after: bool = False) -> None:
        """Let the next append raise `error`: before it took effect, or `after` it did."""
        self._failure = (error, after)

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        """See `actors.ports.Journal`."""
        await self.enter(writes=True)
        failure, self._failure = self._failure, None
        if failure is not None and not failure[1]:
            raise failure[0]
        session = self._checked(grant, expected_seq)
        made = attrs.evolve(session, rows=list(session.rows), commands=dict(session.commands))
        head = self._put(made, expected_seq, entries)
        for one in fold:
            self._fold(made, one)
        made.record = attrs.evolve(made.record, head_seq=head)
        if any(entry.kind not in PIECE_KINDS for entry in entries):
            made.record = attrs.evolve(made.record, last_activity_ms=entries[-1].at_ms)
        if summary is not None:
            kept = _with_snapshot(summary, made.record.summary)
            made.record = attrs.evolve(made.record, summary=kept, snapshot_seq=head)
        self._sessions[grant.session_id] = made
        self.appends += 1
        if failure is not None:
            raise failure[0]
        return head

    async def read(
        self,
        session_id: str,
        after: int,
        limit: int,
        *,
        before: int | None = None,
        kinds: Collection[str] | None = None,
        newest: bool = False,
    ) -> Sequence[Row]:
        """See `actors.ports.Journal`."""
        await self._enter_rows(writes=False)
        found = self._sessions.get(session_id)
        rows = [
            row
            for row in (found.rows if found else ())
            if row.seq > after
            and (before is None or row.seq < before)
            and (kinds is None or row.kind in kinds)
        ]
        page = _page(rows[::-1] if newest else rows, limit)
        return page[::-1] if newest else page

    async def head(self, session_id: str) -> Head:
        """See `actors.ports.Journal`."""
        await self.enter(writes=False)
        record = self._known(session_id).record
        return Head(record.epoch, record.head_seq)

    async def find_commands(self, session_id: str, command_ids: Sequence[str]) -> dict[str, CommandRecord]:
        """See `actors.ports.Journal`."""
        await self.enter(writes=False)
        found = self._sessions.get(session_id)
        known = found.commands if found else {}
        return {one: known[one] for one in command_ids if one in known}

    async def first_seq_of_turns(self, session_id: str, count: int) -> int:
        """See `actors.ports.Journal`."""
        await self._enter_rows(writes=False)
        session = self._known(session_id)
        started = [
            row.turn_id for row in session.rows if row.kind == "turn_started" and row.turn_id is not None
        ]
        turns = set(started[max(len(started) - count, 0) :])
        firsts = (r.first_seq for r in session.rows if r.turn_id in turns and r.kind not in PIECE_KINDS)
        return min(firsts, default=session.record.head_seq + 1)

    async def check_writable(self) -> None:
        """See `actors.ports.Journal`."""
        await self._enter_rows(writes=True)

    async def acquire(self, session_id: str) -> Grant:
        """See `actors.ports.Ownership`."""
        await self.enter(writes=True)
        session = self._known(session_id)
        owner_epoch = session.record.owner_epoch + 1
        session.record = attrs.evolve(session.record, owner_epoch=owner_epoch)
        return Grant(session_id, owner_epoch, session.record.head_seq)

    async def create(self, session: NewSession) -> SessionRecord:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        return self.create_nowait(session).record

    def create_nowait(self, session: NewSession) -> StoredSession:
        """Make a session. Raises SessionExists."""
        if session.session_id in self._sessions:
            raise SessionExists(session.session_id)
        record = SessionRecord(
            session_id=session.session_id,
            agent_type=session.agent_type,
            device_id=session.device_id,
            settings=session.settings,
            created_at_ms=session.created_at_ms,
            last_activity_ms=session.created_at_ms,
            epoch=1,
            owner_epoch=0,
            head_seq=0,
            snapshot_seq=0,
            summary=None,
            read_seq=0,
            draft="",
            workspace=session.workspace,
        )
        made = self._sessions[session.session_id] = StoredSession(record)
        if session.hidden:
            self._hidden.add(session.session_id)
        return made

    def put_nowait(self, session: StoredSession, entry: Entry) -> Row:
        """Put an entry at the end of a session, as an owner that nobody fences, and without a summary."""
        head = self._put(session, session.record.head_seq, [entry])
        session.record = attrs.evolve(session.record, head_seq=head)
        return session.rows[-1]

    async def get(self, session_id: str) -> SessionRecord | None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        found = self._sessions.get(session_id)
        return found.record if found and session_id not in self._hidden else None

    async def page(
        self,
        limit: int,
        before: tuple[int, str] | None = None,
        *,
        archived: bool | None = None,
        workspace: str | None = None,
    ) -> Sequence[SessionRecord]:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        records = sorted((session.record for session in self._sessions.values()), key=_activity, reverse=True)
        return [
            record
            for record in records
            if record.session_id not in self._hidden
            and (before is None or _activity(record) < before)
            and archived in (None, record.archived)
            and workspace in (None, record.workspace)
        ][:limit]

    async def count(self) -> int:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        return len(self._sessions)

    async def unfinished(self) -> Sequence[str]:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        summaries = ((key, session.record.summary) for key, session in self._sessions.items())
        return sorted(key for key, summary in summaries if summary is not None and summary.unfinished)

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        summaries = ((name, one.record.summary) for name, one in self._sessions.items())
        found = [(name, one.due_at_ms) for name, one in summaries if one is not None]
        return sorted([(name, at) for name, at in found if at is not None], key=lambda pair: pair[1])[:limit]

    async def unread_count(self, session_id: str, after: int) -> int:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        found = self._sessions.get(session_id)
        return sum(row.kind in MESSAGE_KINDS and row.seq > after for row in (found.rows if found else ()))

    async def note(
        self,
        session_id: str,
        *,
        read_seq: int | None = None,
        draft: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        session = self._known(session_id)
        if read_seq is not None:
            session.record = attrs.evolve(session.record, read_seq=max(read_seq, session.record.read_seq))
        if draft is not None:
            session.record = attrs.evolve(session.record, draft=draft)
        if pinned is not None:
            session.record = attrs.evolve(session.record, pinned=pinned)
        if archived is not None:
            session.record = attrs.evolve(session.record, archived=archived)

    async def reveal(self, session_id: str, *, files_of: str) -> None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        self._hidden.discard(session_id)

    async def remove_hidden(self, session_id: str) -> None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        self._sessions.pop(session_id, None)
        self._hidden.discard(session_id)

    async def keep_offer(self, agent_type: str, offer: bytes) -> None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=True)
        self._offers[agent_type] = offer

    async def offer_of(self, agent_type: str) -> bytes | None:
        """See `actors.ports.Catalog`."""
        await self.enter(writes=False)
        return self._offers.get(agent_type)

    async def remove(self, session_id: str) -> None:
        """Remove a session for good. Raises SessionMissing."""
        await self.enter(writes=True)
        self._known(session_id)
        del self._sessions[session_id]

    def _known(self, session_id: str) -> StoredSession:
        found = self._sessions.get(session_id)
        if found is None:
            raise SessionMissing(session_id)
        return found

    def _checked(self, grant: Grant, expected_seq: int) -> StoredSession:
        session = self._known(grant.session_id)
        if session.record.owner_epoch != grant.owner_epoch:
            raise Fenced(grant.session_id)
        if session.record.head_seq != expected_seq:
            raise SequenceConflict(grant.session_id)
        return session

    def _put(self, session: StoredSession, seq: int, entries: Sequence[Entry]) -> int:
        for entry in entries:
            if entry.span < 1:
                raise ValueError(f"an entry covers at least one seq, not {entry.span}")
            session.rows.append(self._row(session, entry, seq + 1, seq + entry.span))
            seq += entry.span
        return seq

    def _fold(self, session: StoredSession, fold: Fold) -> None:
        inside = [row for row in session.rows if fold.first_seq <= row.seq <= fold.last_seq]
        if not inside or inside[0].first_seq != fold.first_seq or inside[-1].seq != fold.last_seq:
            raise FoldMismatch(session.record.session_id)
        start = session.rows.index(inside[0])
        made = self._row(session, fold.entry, fold.first_seq, fold.last_seq)
        session.rows[start : start + len(inside)] = [made]

    def _row(self, session: StoredSession, entry: Entry, first: int, seq: int) -> Row:
        if entry.command_id is not None:
            known = session.commands.get(entry.command_id) or CommandRecord(entry.command_id, seq, "")
            state = known.state if entry.command_state is None else entry.command_state
            session.commands[entry.command_id] = attrs.evolve(known, state=state)
        return Row(
            session.record.session_id,
            seq,
            first,
            entry.turn_id,
            entry.kind,
            entry.device_id,
            entry.at_ms,
            entry.payload,
            next(self._commit_nos),
        )


def _with_snapshot(summary: Summary, before: Summary | None) -> Summary:
    if summary.snapshot is not None:
        return summary
    if before is None:
        raise ValueError("there is no earlier snapshot to keep")
    return attrs.evolve(summary, snapshot=before.snapshot, shown=before.shown)


def _activity(record: SessionRecord) -> tuple[int, str]:
    return record.last_activity_ms, record.session_id


def _page(rows: Sequence[Row], limit: int) -> list[Row]:
    page: list[Row] = []
    size = 0
    for row in rows[:limit]:
        page.append(row)
        size += len(row.payload)
        if size > PAGE_BYTES:
            break
    return page
