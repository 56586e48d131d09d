"""The plain rows that storage takes and returns: frozen classes without meaning.

Storage orders, keeps, fences and indexes entries. Only `actors` knows what an entry means (its kind, its payload). Here
a payload is bytes and a kind is a word.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

__all__ = [
    "NODE_NAME",
    "OWNER",
    "PIECE_KINDS",
    "CommandRecord",
    "Entry",
    "Fold",
    "Grant",
    "Head",
    "NewSession",
    "Row",
    "SessionRecord",
    "Summary",
    "is_node_name",
]

OWNER = "self"
"""The owner of every session of a database that one server has for itself."""

NODE_NAME: Final = "1 to 31 small letters, digits and hyphens"
_NODE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")

PIECE_KINDS = frozenset({"message", "thinking"})
"""The pieces of an answer: by far the most rows, so two things leave them out. The index `journal_turn` does not
contain them, and an append of only these does not move its session's last activity."""


@attrs.frozen
class Entry:
    """One event to append to the journal.

    Attributes:
        kind: the event's kind, a word that `actors` chose.
        payload: its body, opaque here.
        at_ms: the moment of journalling, milliseconds since 1970 in UTC.
        turn_id: the turn that it belongs to; None outside a turn.
        device_id: the label of its author, if it has one.
        search_text: the text for full-text search; None leaves the index alone.
        span: how many neighbouring seqs this one row covers (1 or more); it is stored under the last.
        command_id: the device-made id of the command that it records or updates (a `message_id`).
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
    """Replaces the rows from `first_seq` to `last_seq` by one row, stored under `last_seq`.

    Both ends must be ends of existing rows. `entry.span` is ignored: the range gives it.
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
    """The end of a session's journal, and its epoch."""

    epoch: int
    seq: int


@attrs.frozen
class CommandRecord:
    """The record of one command id: the seq of its first entry, and its newest state."""

    command_id: str
    seq: int
    state: str


@attrs.frozen
class Summary:
    """The state that a session's owner keeps beside its journal, written in the transaction of an append.

    Attributes:
        title: for lists; may be empty.
        state: a word for lists (`idle`, `running`, `waiting`, `failed`).
        message_count: for lists.
        pending_count: how many decisions wait for a person.
        unfinished: True if a starting server must recover this session (open turn or queue).
        snapshot: the owner's state at this append's last seq, opaque here. None only in an append: the snapshot of an
            earlier append of this session stays. What is read always has one.
        hub_id: the hub that the session's turns go to; None if there is none.
        hub_seq: the last event of that hub that this append or an earlier one contains.
        shown: further data for lists, opaque here. It is written and kept like the snapshot.
        due_at_ms: when the server must look after this session unasked; None: never.
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
    """The properties of a new session. `settings` is opaque here; lists can be filtered by `workspace`.

    `hidden`: the session cannot be found until it is revealed. The next start removes one that never was.
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
    """One session as storage knows it.

    Attributes:
        snapshot_seq: the head at which `summary` was written.
        owner: the machine that the session is at home on; `OWNER` unless several share the database.
    """

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
    owner: str = OWNER


def is_node_name(text: str) -> bool:
    """Return whether one of several servers with one database may have this name."""
    return _NODE_NAME.fullmatch(text) is not None and text != OWNER
