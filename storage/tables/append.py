"""One append to one session. The writer's thread runs it inside a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from storage.errors import Fenced, FoldMismatch, SequenceConflict, SessionMissing, StorageError
from storage.records import PIECE_KINDS, Entry, Fold, Grant, Summary
from storage.transaction import Transaction

__all__ = ["Append", "append"]

# Checks the grant and moves the head in one statement. It changes nothing if the grant or the head is stale.
_ADVANCE = "UPDATE session SET head_seq = ?1 WHERE session_id = ?2 AND owner_epoch = ?3 AND head_seq = ?4"
# The same with the last activity, which has an index; so pieces, by far the most rows, do not touch it.
_ADVANCE_AND_NOTE = """
UPDATE session SET head_seq = ?1, last_activity_ms = ?5
WHERE session_id = ?2 AND owner_epoch = ?3 AND head_seq = ?4
"""
_WHY_NOT = "SELECT owner_epoch, head_seq FROM session WHERE session_id = ?"
_INSERT = """
INSERT INTO journal
  (session_id, seq, first_seq, turn_id, kind, device_id, at_ms, commit_no, searchable, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INDEX = "INSERT INTO search (rowid, session_id, seq, kind, text) VALUES (?, ?, ?, ?, ?)"
_COMMAND = """
INSERT INTO command (session_id, command_id, seq, state) VALUES (?1, ?2, ?3, coalesce(?4, ''))
ON CONFLICT (session_id, command_id) DO UPDATE SET state = coalesce(?4, state)
"""
_BORDERS = """
SELECT min(first_seq), max(seq), max(searchable) FROM journal WHERE session_id = ? AND seq BETWEEN ? AND ?
"""
_UNINDEX = """
DELETE FROM search WHERE rowid IN
  (SELECT commit_no FROM journal WHERE session_id = ? AND seq BETWEEN ? AND ? AND searchable = 1)
"""
_REMOVE = "DELETE FROM journal WHERE session_id = ? AND seq BETWEEN ? AND ?"
_SUMMARY = """
INSERT OR REPLACE INTO summary
  (session_id, snapshot_seq, title, state, message_count, pending_count,
   unfinished, hub_id, hub_seq, due_at_ms, snapshot, shown)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
# Nearly always a piece changes no more than these two. To name the others would rewrite two indexes, even with the
# same values: a page more in each commit of a piece.
_SUMMARY_POSITIONS = """
UPDATE summary SET snapshot_seq = ?2, hub_seq = ?9
WHERE session_id = ?1 AND title = ?3 AND state = ?4 AND message_count = ?5 AND pending_count = ?6
  AND unfinished = ?7 AND hub_id IS ?8 AND due_at_ms IS ?10
"""
_SUMMARY_BUT_SNAPSHOT = """
UPDATE summary SET snapshot_seq = ?2, title = ?3, state = ?4, message_count = ?5, pending_count = ?6,
  unfinished = ?7, hub_id = ?8, hub_seq = ?9, due_at_ms = ?10
WHERE session_id = ?1
"""


@attrs.frozen
class Append:
    """The arguments of `actors.ports.Journal.append`."""

    grant: Grant
    expected_seq: int
    entries: Sequence[Entry]
    fold: Sequence[Fold]
    summary: Summary | None

    @property
    def head(self) -> int:
        """The head after it. Raises ValueError for an entry that covers no seq."""
        return self.expected_seq + sum(_span(entry) for entry in self.entries)

    def refusal(self, owner_epoch: int, head: int) -> StorageError:
        """Return why a session with this owner and head does not take it."""
        session_id, own = self.grant.session_id, self.grant.owner_epoch
        if owner_epoch != own:
            return Fenced(f"{session_id}: owner {own} was replaced by owner {owner_epoch}")
        return SequenceConflict(f"{session_id}: the head is {head}, not {self.expected_seq}")

    def mismatch(self, fold: Fold) -> StorageError:
        """Return why a fold of it is refused."""
        where = f"{self.grant.session_id}: {fold.first_seq} to {fold.last_seq}"
        return FoldMismatch(f"{where} does not begin and end at a row's boundary; the head is {self.head}")

    def no_snapshot(self) -> ValueError:
        """Return why its summary without a snapshot is refused."""
        return ValueError(f"{self.grant.session_id}: there is no earlier snapshot to keep")

    @property
    def at_ms(self) -> int | None:
        """The session's last activity after it; None if that stays: for pieces only, by far the most rows."""
        only_pieces = all(entry.kind in PIECE_KINDS for entry in self.entries)
        return None if only_pieces else self.entries[-1].at_ms


def append(job: Append, next_commit_no: Callable[[], int], connection: Transaction) -> int:
    """Write it all and return the new head. Raises as the port does."""
    head = job.head
    _advance(job, head, connection)
    seq = job.expected_seq
    for entry in job.entries:
        first, seq = seq + 1, seq + entry.span
        _insert(job, entry, first, seq, next_commit_no(), connection)
    for fold in job.fold:
        _fold(job, fold, next_commit_no, connection)
    if job.summary is not None:
        _note(job, head, job.summary, connection)
    return head


def _span(entry: Entry) -> int:
    if entry.span < 1:
        raise ValueError(f"an entry covers at least one seq, not {entry.span}")
    return entry.span


def _advance(job: Append, head: int, connection: Transaction) -> None:
    grant = job.grant
    bound = (head, grant.session_id, grant.owner_epoch, job.expected_seq)
    if (at_ms := job.at_ms) is None:
        connection.execute(_ADVANCE, bound)
    else:
        connection.execute(_ADVANCE_AND_NOTE, (*bound, at_ms))
    if connection.changes() == 1:
        return
    found = connection.execute(_WHY_NOT, (grant.session_id,)).get
    if found is None:
        raise SessionMissing(grant.session_id)
    raise job.refusal(*found)


def _insert(job: Append, entry: Entry, first: int, seq: int, commit_no: int, connection: Transaction) -> None:
    session_id = job.grant.session_id
    searchable = entry.search_text is not None
    keys = (session_id, seq, first, entry.turn_id, entry.kind, entry.device_id, entry.at_ms)
    connection.execute(_INSERT, (*keys, commit_no, int(searchable), entry.payload))
    if searchable:
        connection.execute(_INDEX, (commit_no, session_id, seq, entry.kind, entry.search_text))
    if entry.command_id is not None:
        connection.execute(_COMMAND, (session_id, entry.command_id, seq, entry.command_state))


def _fold(job: Append, fold: Fold, next_commit_no: Callable[[], int], connection: Transaction) -> None:
    bound = (job.grant.session_id, fold.first_seq, fold.last_seq)
    first, last, searchable = connection.execute(_BORDERS, bound).get
    if first != fold.first_seq or last != fold.last_seq:
        raise job.mismatch(fold)
    if searchable:
        connection.execute(_UNINDEX, bound)
    connection.execute(_REMOVE, bound)
    _insert(job, fold.entry, fold.first_seq, fold.last_seq, next_commit_no(), connection)


def _note(job: Append, head: int, summary: Summary, connection: Transaction) -> None:
    session_id = job.grant.session_id
    lists = (summary.title, summary.state, summary.message_count, summary.pending_count)
    rest = (int(summary.unfinished), summary.hub_id, summary.hub_seq, summary.due_at_ms)
    if summary.snapshot is not None:
        connection.execute(_SUMMARY, (session_id, head, *lists, *rest, summary.snapshot, summary.shown))
        return
    for update in (_SUMMARY_POSITIONS, _SUMMARY_BUT_SNAPSHOT):
        connection.execute(update, (session_id, head, *lists, *rest))
        if connection.changes() == 1:
            return
    raise job.no_snapshot()
