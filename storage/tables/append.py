"""One append to one session. The writer's thread runs it inside a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import apsw
import attrs

from storage.errors import Fenced, FoldMismatch, SequenceConflict, SessionMissing
from storage.records import PIECE_KINDS, Entry, Fold, Grant, Summary

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
_SUMMARY_BUT_SNAPSHOT = """
UPDATE summary SET snapshot_seq = ?2, title = ?3, state = ?4, message_count = ?5, pending_count = ?6,
  unfinished = ?7, hub_id = ?8, hub_seq = ?9, due_at_ms = ?10
WHERE session_id = ?1
"""


@attrs.frozen
class Append:
    """The arguments of `actors.ports.Journal.append`, and the source of commit numbers."""

    grant: Grant
    expected_seq: int
    entries: Sequence[Entry]
    fold: Sequence[Fold]
    summary: Summary | None
    next_commit_no: Callable[[], int]


def append(job: Append, connection: apsw.Connection) -> int:
    """Write it all and return the new head. Raises as the port does."""
    head = job.expected_seq + sum(_span(entry) for entry in job.entries)
    _advance(job, head, connection)
    seq = job.expected_seq
    for entry in job.entries:
        first, seq = seq + 1, seq + entry.span
        _insert(job, entry, first, seq, connection)
    for fold in job.fold:
        _fold(job, fold, head, connection)
    if job.summary is not None:
        _note(job.grant.session_id, head, job.summary, connection)
    return head


def _span(entry: Entry) -> int:
    if entry.span < 1:
        raise ValueError(f"an entry covers at least one seq, not {entry.span}")
    return entry.span


def _advance(job: Append, head: int, connection: apsw.Connection) -> None:
    grant = job.grant
    bound = (head, grant.session_id, grant.owner_epoch, job.expected_seq)
    if all(entry.kind in PIECE_KINDS for entry in job.entries):
        connection.execute(_ADVANCE, bound)
    else:
        connection.execute(_ADVANCE_AND_NOTE, (*bound, job.entries[-1].at_ms))
    if connection.changes() == 1:
        return
    found = connection.execute(_WHY_NOT, (grant.session_id,)).get
    if found is None:
        raise SessionMissing(grant.session_id)
    owner_epoch, present = found
    if owner_epoch != grant.owner_epoch:
        raise Fenced(f"{grant.session_id}: owner {grant.owner_epoch} was replaced by owner {owner_epoch}")
    raise SequenceConflict(f"{grant.session_id}: the head is {present}, not {job.expected_seq}")


def _insert(job: Append, entry: Entry, first: int, seq: int, connection: apsw.Connection) -> None:
    session_id, commit_no = job.grant.session_id, job.next_commit_no()
    searchable = entry.search_text is not None
    keys = (session_id, seq, first, entry.turn_id, entry.kind, entry.device_id, entry.at_ms)
    connection.execute(_INSERT, (*keys, commit_no, int(searchable), entry.payload))
    if searchable:
        connection.execute(_INDEX, (commit_no, session_id, seq, entry.kind, entry.search_text))
    if entry.command_id is not None:
        connection.execute(_COMMAND, (session_id, entry.command_id, seq, entry.command_state))


def _fold(job: Append, fold: Fold, head: int, connection: apsw.Connection) -> None:
    bound = (job.grant.session_id, fold.first_seq, fold.last_seq)
    first, last, searchable = connection.execute(_BORDERS, bound).get
    if first != fold.first_seq or last != fold.last_seq:
        where = f"{job.grant.session_id}: {fold.first_seq} to {fold.last_seq}"
        raise FoldMismatch(f"{where} does not begin and end at a row's boundary; the head is {head}")
    if searchable:
        connection.execute(_UNINDEX, bound)
    connection.execute(_REMOVE, bound)
    _insert(job, fold.entry, fold.first_seq, fold.last_seq, connection)


def _note(session_id: str, head: int, summary: Summary, connection: apsw.Connection) -> None:
    lists = (summary.title, summary.state, summary.message_count, summary.pending_count)
    rest = (int(summary.unfinished), summary.hub_id, summary.hub_seq, summary.due_at_ms)
    if summary.snapshot is not None:
        connection.execute(_SUMMARY, (session_id, head, *lists, *rest, summary.snapshot, summary.shown))
        return
    connection.execute(_SUMMARY_BUT_SNAPSHOT, (session_id, head, *lists, *rest))
    if connection.changes() != 1:
        raise ValueError(f"{session_id}: there is no earlier snapshot to keep")
