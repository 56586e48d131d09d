"""The seams: what a session's owner and a connection know of the rest.

`Journal` and `Ownership` have a contract suite (`tests/storage/journal_contract.py`) that every implementation
must pass. `LiveBus` and `CommandBus` are what a connection holds instead of an actor.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

import attrs

from actors.commands import Envelope
from actors.tail import Listener, Tail
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.messages import Reported, ToHub, Welcome
from storage.records import (
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

__all__ = [
    "Carried",
    "Catalog",
    "Clock",
    "CommandBus",
    "FoundHub",
    "HubLink",
    "Hubs",
    "Ids",
    "Journal",
    "LiveBus",
    "Ownership",
    "UndoFailed",
    "UndoPlan",
    "Undoes",
]

Clock = Callable[[], int]
"""Wall time: milliseconds since 1970 in UTC."""

Ids = Callable[[], str]
"""A fresh id, unguessable and unique: 1–64 of `a-z 0-9`."""


class Journal(Protocol):
    """The append-only list of each session's events. The journal is the truth; all else is derived."""

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
        """Append `entries` after `expected_seq`, then fold, then note `summary`: all or nothing.

        Cancellation: an append that has begun is not cancelled; one that still waits may be, and then left no
        trace.

        Args:
            grant: the right to write, from `Ownership.acquire`.
            expected_seq: the head as the caller knows it.
            entries: may be empty if only the summary changes.
            fold: ranges to replace, up to the new head.
            durable: return only after fsync.
            summary: replaces the earlier one, but for its snapshot if that is None; None leaves it.

        Returns:
            The new head.

        Raises:
            Fenced: another owner acquired the session.
            SequenceConflict: `expected_seq` is not the head.
            SessionMissing: the session is gone.
            StorageUnavailable: nothing was written; try again later.
            OutcomeUnknown: COMMIT itself failed: ask `head`.
            ValueError: `summary` leaves a snapshot that is not there, or an entry covers no seq.
        """
        ...

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
        """Read committed rows with `after < seq` (and `seq < before`), ascending, at most `limit`.

        A page also ends once its payloads pass 256 KiB together; it has at least one row if one is there, so
        the reader continues after the last row's seq until a page is empty. With `newest` the last rows of the
        range instead of the first, still ascending. `kinds` keeps only those kinds.
        """
        ...

    async def head(self, session_id: str) -> Head:
        """Return the committed end of a session. Raises SessionMissing."""
        ...

    async def find_commands(self, session_id: str, command_ids: Sequence[str]) -> dict[str, CommandRecord]:
        """Return what is recorded of those of `command_ids` that were ever committed in this session."""
        ...

    async def first_seq_of_turns(self, session_id: str, count: int) -> int:
        """Return the seq of the first event of the last `count` turns that have started.

        It is the least `first_seq` over all rows of those turns; head + 1 if `count` is 0 or none started.
        """
        ...

    async def check_writable(self) -> None:
        """Commit nothing, durably. Raises StorageUnavailable while an append would."""
        ...


class Ownership(Protocol):
    """Who may write a session."""

    async def acquire(self, session_id: str) -> Grant:
        """Take the session over: from now on every older grant is `Fenced`. Raises SessionMissing."""
        ...


class Catalog(Protocol):
    """The list of sessions and what is kept beside their journals."""

    @property
    def owner(self) -> str:
        """The `owner` of the sessions that are at home here: `create` makes those, and `unfinished` and `due` return no
        others."""
        ...

    async def create(self, session: NewSession) -> SessionRecord:
        """Make a session, durably: epoch 1, head 0. Raises SessionExists, StorageUnavailable."""
        ...

    async def get(self, session_id: str) -> SessionRecord | None:
        """Return one session, None if it is not there."""
        ...

    async def page(
        self,
        limit: int,
        before: tuple[int, str] | None = None,
        *,
        archived: bool | None = None,
        workspace: str | None = None,
    ) -> Sequence[SessionRecord]:
        """Return sessions by (last_activity_ms, session_id) descending, all below `before`.

        `archived`, `workspace`: only those; None: all.
        """
        ...

    async def count(self) -> int:
        """Return how many sessions there are."""
        ...

    async def unfinished(self) -> Sequence[str]:
        """Return the ids of sessions whose summary says `unfinished`."""
        ...

    async def due(self, limit: int) -> Sequence[tuple[str, int]]:
        """Return the sessions whose summary says when they are due, with that moment (ms), the next one first."""
        ...

    async def unread_count(self, session_id: str, after: int) -> int:
        """Return how many entries `/messages` has after seq `after` (user messages and started turns)."""
        ...

    async def note(
        self,
        session_id: str,
        *,
        read_seq: int | None = None,
        draft: str | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Keep a read mark, a draft, or where it stands in lists. Not an event; last writer wins; a read mark never
        goes back."""
        ...

    async def reveal(self, session_id: str, *, files_of: str) -> None:
        """Show a session that was made hidden, durably, with what another one has of files."""
        ...

    async def remove_hidden(self, session_id: str) -> None:
        """Remove a session that was made hidden and not revealed. Not cancelled; what fails is done at the next start."""
        ...

    async def keep_offer(self, agent_type: str, offer: bytes) -> None:
        """Remember what an agent offers, for every session with it. Raises StorageUnavailable."""
        ...

    async def offer_of(self, agent_type: str) -> bytes | None:
        """Return the last offer that an agent reported, None if it never did."""
        ...

    async def remove(self, session_id: str) -> None:
        """Remove a session for good, with all that is kept of it. Its owner must have stopped.

        Raises:
            SessionMissing: there is no such session.
            StorageUnavailable: it may be gone already, and something be left, which goes later.
        """
        ...


class CommandBus(Protocol):
    """From a connection to the session's owner."""

    async def submit(self, session_id: str, envelope: Envelope) -> None:
        """Hand a command to the session's owner, starting it if it is not live.

        Waits while the owner's mailbox is full. Cancelling a submit that waits leaves no trace.

        Raises:
            SessionMissing: there is no such session.
            SessionFailed: the session's owner crashed too often; see `actors.supervisor`.
            ShuttingDown: the server is about to stop.
        """
        ...


class LiveBus(Protocol):
    """From the session's owner to all that listen: lossy and bounded; a gap is healed from the journal."""

    def listen(self, session_id: str, listener: Listener) -> AbstractContextManager[Tail]:
        """Be woken by the session's news while inside the block."""
        ...


@attrs.frozen
class UndoPlan:
    """What an undo will do is kept. `checkpoint_id`: the state just before it."""

    checkpoint_id: str


@attrs.frozen
class Carried:
    """What an undo wrote, removed or gave another mode, and what it left alone."""

    files: tuple[str, ...]
    conflicts: tuple[str, ...]


class UndoFailed(Exception):
    """An undo cannot be done; the text is for a person.

    Attributes:
        code: why.
        conflicts: files that would be left alone, with `nothing_to_undo`.
        by_session: who works in the same folder, with `busy`.
    """

    def __init__(
        self,
        code: Literal["busy", "no_checkpoint", "nothing_to_undo"],
        content: str,
        conflicts: tuple[str, ...] = (),
        *,
        by_session: str | None = None,
    ) -> None:
        super().__init__(content)
        self.code = code
        self.conflicts = conflicts
        self.by_session = by_session


class Undoes(Protocol):
    """Takes changes of a workspace back. Takes the event loop no time."""

    async def plan(self, session_id: str, workspace: str, undo_id: str, before: str, after: str) -> UndoPlan:
        """Plan to take back what lies between two checkpoints, under `undo_id`. Raises UndoFailed."""
        ...

    async def plan_again(self, session_id: str, workspace: str, undo_id: str, of_undo: str) -> UndoPlan:
        """Plan to take back what an earlier undo did. Raises UndoFailed."""
        ...

    async def carry_out(self, session_id: str, workspace: str, undo_id: str) -> Carried:
        """Do what was planned under `undo_id`; called again it does what is left. Raises UndoFailed."""
        ...


class HubLink(Protocol):
    """One live connection between a session's owner and its hub."""

    @property
    def welcome(self) -> Welcome:
        """What the hub said of itself when the link was made."""
        ...

    async def send(self, message: ToHub) -> None:
        """Write one message. Raises HubLost if the hub is gone or the link broken."""
        ...

    async def receive(self) -> Sequence[Reported]:
        """Wait for events, one or more, in the hub's order. Raises HubLost at the link's end."""
        ...

    async def aclose(self) -> None:
        """Close the link; the hub keeps running. Idempotent."""
        ...


@attrs.frozen
class FoundHub:
    """A hub that the data folder knows of.

    Attributes:
        alive: whether its process runs (by id and start time).
        socket: where it listens.
    """

    hub_id: str
    session_id: str
    alive: bool
    socket: str = attrs.field(default="", eq=False)


class Hubs(Protocol):
    """Starts, finds and ends hub processes. Never on the event loop for longer than a millisecond."""

    async def start(self, spec: HubSpec) -> None:
        """Start the hub `spec.hub_id`; return when its socket takes connections.

        Raises:
            HubStartFailed: no process was left behind, and no prompt was taken.
        """
        ...

    async def connect(self, hub_id: str, *, owner_epoch: int, last_seq: int) -> HubLink:
        """Connect to a running hub; it sends what it has after `last_seq`.

        Raises:
            HubLost: there is no such hub, or it died.
            HubFenced: a later owner holds it.
        """
        ...

    async def reap(self, hub_id: str, *, last_seq: int) -> Sequence[Reported]:
        """Kill what is left of a hub and its whole tree; return the first of the events it left in its files.

        Only events that follow `last_seq` without a gap, and no more than fit into memory many times over; called
        again with the last one's number it gives what follows, and nothing at the end. Idempotent: its files stay
        until `forget`.
        """
        ...

    async def stop(self, hub_ids: Collection[str]) -> Collection[str]:
        """End hubs together: politely, so that each writes down what is not acknowledged; by force after 2 s.

        Their files stay. Not cancelled while it waits.

        Returns:
            Those that could not be killed: they live on, and nothing of theirs may be sent again.
        """
        ...

    async def forget(self, hub_id: str) -> None:
        """Remove a reaped hub's files, once its last events are journalled. One that started late is killed first."""
        ...

    async def find(self, hub_id: str) -> FoundHub | None:
        """Look a hub up; None if it has no files, so was never started or is forgotten."""
        ...

    async def living(self) -> Sequence[FoundHub]:
        """Return every hub that has files in the data folder, dead ones too."""
        ...
