"""The plain rows that storage takes and gives: frozen classes, no meaning.

Storage orders, keeps, fences and indexes entries. What an entry means (its kind, its payload) is known
only in `actors`; here a payload is bytes and a kind is a word.
"""

from __future__ import annotations

import attrs

__all__ = [
    "PIECE_KINDS",
    "Command",
    "Entry",
    "Fold",
    "Grant",
    "Head",
    "NewSession",
    "Row",
    "SessionRecord",
    "Summary",
]


PIECE_KINDS = frozenset({"message", "thinking"})
"""The pieces of an answer: by far the most rows, so they are spared two things. The index `journal_turn` leaves
them out, and an append of nothing else does not move its session's last activity."""


@attrs.frozen
class Entry:
    """One event on its way into the journal.

    Attributes:
        kind: the event's kind, a word that `actors` chose.
        payload: its body, opaque here.
        at_ms: the moment of journalling, milliseconds since 1970 in UTC.
        turn_id: the turn that it belongs to, None outside a turn.
        device_id: the label of its author, where there is one.
        search_text: what full-text search may find it by; None leaves the index alone.
        span: how many neighbouring seqs this one row covers (1 or more); it is stored under the last.
        command_id: the device-made id of the command that it records or moves on (a `message_id`).
        command_state: the newest state of that command, a word that `actors` chose.
    """

    kind: str
    payload: bytes
    at_ms: int
    turn_id: str | None = None
    device_id: str | None = None
    search_text: str | None = None
    span: int = 1
    command_id: str | None = None
    command_state: str | None = None


@attrs.frozen
class Fold:
    """Replace the rows that lie in `first_seq` … `last_seq` by one row, stored under `last_seq`.

    Both ends must be ends of existing rows. `entry.span` is not read: the range tells it.
    """

    first_seq: int
    last_seq: int
    entry: Entry


@attrs.frozen
class Row:
    """A committed entry. It covers `first_seq` … `seq`; `commit_no` rises over all sessions."""

    session_id: str
    seq: int
    first_seq: int
    turn_id: str | None
    kind: str
    device_id: str | None
    at_ms: int
    payload: bytes
    commit_no: int


@attrs.frozen
class Grant:
    """The right to append to one session; each append checks `owner_epoch`. `seq` is the head at the time."""

    session_id: str
    owner_epoch: int
    seq: int


@attrs.frozen
class Head:
    """Where a session's journal ends, and in which epoch."""

    epoch: int
    seq: int


@attrs.frozen
class Command:
    """What is recorded of one command id: the seq of its first entry, and its newest state."""

    command_id: str
    seq: int
    state: str


@attrs.frozen
class Summary:
    """What a session's owner keeps beside its journal, written in the transaction of an append.

    Attributes:
        title: for lists; may be empty.
        state: a word for lists (`idle`, `running`, `waiting`, `failed`).
        message_count: for lists.
        pending_count: how many decisions wait for a person.
        unfinished: True while a server that starts must look after this session (open turn or queue).
        snapshot: the owner's state at this append's last seq, opaque here. None, only on the way in: it is what
            an earlier append of this session wrote, and stays. What is read always has one.
        hub_id: the hub that the session's turns go to, None where there is none.
        hub_seq: the last event of that hub which this append or an earlier one holds.
        shown: what else lists show, opaque here; it is written and left as the snapshot is.
        due_at_ms: when this session is to be looked after although nobody asks; None: never.
    """

    title: str
    state: str
    message_count: int
    pending_count: int
    unfinished: bool
    snapshot: bytes | None
    hub_id: str | None
    hub_seq: int
    due_at_ms: int | None = None
    shown: bytes | None = None


@attrs.frozen
class NewSession:
    """What a session is made with. `settings` is opaque here; `workspace` is what lists can be filtered by.

    `hidden`: nobody finds it until it is revealed; one that never was is removed at the next start.
    """

    session_id: str
    agent_type: str
    device_id: str
    settings: bytes
    created_at_ms: int
    workspace: str = ""
    hidden: bool = False


@attrs.frozen
class SessionRecord:
    """One session as storage knows it. `snapshot_seq` is the head at which `summary` was written."""

    session_id: str
    agent_type: str
    device_id: str
    settings: bytes
    created_at_ms: int
    last_activity_ms: int
    epoch: int
    owner_epoch: int
    head_seq: int
    snapshot_seq: int
    summary: Summary | None
    read_seq: int
    draft: str
    workspace: str = ""
    pinned: bool = False
    archived: bool = False
