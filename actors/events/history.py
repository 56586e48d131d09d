"""A session's journal read backwards: what was said before a turn, for an agent that lost its own memory of it, and the
checkpoints around a turn: the journal is the truth about which there are."""

from __future__ import annotations

import attrs

from actors.events.codec import decode_row
from actors.events.committed import Event
from actors.events.conversation import Message, TurnStarted, UserMessage
from actors.events.session import Checkpoint
from actors.ports import Journal
from bridgehub.protocol.messages import PastMessage
from storage.records import Row

__all__ = ["Around", "RowsBackwards", "checkpoints_around", "read_history"]

PAGE_ROWS = 128
"""Rows read at once; a page is also bounded in bytes by the journal."""

CHECKPOINT_ROWS = 200
"""Checkpoints read at once."""

MAX_HISTORY_BYTES = 1024 * 1024
"""UTF-8 of one history, whatever a driver asks for: it travels in one line of the hub's link."""

_KINDS = (UserMessage.kind, TurnStarted.kind, Message.kind)


@attrs.define(eq=False)
class RowsBackwards:
    """Reads a session's rows from the newest to the oldest, a page at a time.

    Attributes:
        kinds: of the events that are wanted.
        before: only rows that begin before this seq are still to come.
        rows_left: once so many rows were read, it ends; None: only where the journal begins.
    """

    journal: Journal
    session_id: str
    kinds: tuple[str, ...]
    before: int
    rows_left: int | None = None
    page_rows: int = PAGE_ROWS

    async def next_page(self) -> list[Row]:
        """Return the next page, newest row first; empty at the end. Raises StorageError."""
        if self.rows_left is not None and self.rows_left <= 0:
            return []
        rows = await self.journal.read(
            self.session_id, 0, self.page_rows, before=self.before, kinds=self.kinds, newest=True
        )
        if rows:
            self.before = rows[0].first_seq
        if self.rows_left is not None:
            self.rows_left -= len(rows)
        return list(reversed(rows))


async def read_history(
    journal: Journal, session_id: str, *, before_seq: int, limit_bytes: int, leave_out: str | None = None
) -> tuple[PastMessage, ...]:
    """Return the newest messages and answers before `before_seq` that fit in `limit_bytes`, oldest first.

    Only turns that had started count: what waited, or was taken back, was said to nobody. What does not fit whole
    ends the history.

    Args:
        journal, session_id: where to read.
        before_seq: where the turn that asks begins.
        limit_bytes: of UTF-8, all together.
        leave_out: the message that the turn is about, which may stand in the past if it is tried again.

    Raises:
        StorageError: the journal could not be read.
    """
    left = min(limit_bytes, MAX_HISTORY_BYTES)
    newest_first: list[PastMessage] = []
    turns = _Turns(leave_out)
    pages = RowsBackwards(journal, session_id, _KINDS, before_seq)
    while rows := await pages.next_page():
        for row in rows:
            for said in turns.take(row.turn_id, decode_row(row).event):
                left -= len(said.content.encode())
                if left < 0:
                    return tuple(reversed(newest_first))
                newest_first.append(said)
    return tuple(reversed(newest_first))


@attrs.define(eq=False)
class _Turns:
    """Turns as they are met from the newest row to the oldest. A steered message stands after its turn's start."""

    leave_out: str | None
    _answers: dict[str | None, list[str]] = attrs.field(factory=dict)
    _dropped: set[tuple[str | None, str]] = attrs.field(factory=set)
    """Blocks that the answer does not have any more, by their turns."""
    _steered: dict[str | None, list[str]] = attrs.field(factory=dict)
    _started: set[str | None] = attrs.field(factory=set)
    _tried: set[str] = attrs.field(factory=set)

    def take(self, turn_id: str | None, event: Event) -> list[PastMessage]:
        """Take the next older row; return what is now known to have been said, newest first."""
        match event:
            case Message(content=""):
                self._dropped.add((turn_id, event.block))
            case Message() if (turn_id, event.block) in self._dropped:
                pass
            case Message():
                self._answers.setdefault(turn_id, []).append(event.content)
            case TurnStarted():
                self._started.add(turn_id)
                if event.message_id is not None:
                    self._tried.add(event.message_id)
                answer = "".join(reversed(self._answers.pop(turn_id, [])))
                said = [PastMessage("assistant", answer)] if answer else []
                return said + [PastMessage("user", text) for text in self._steered.pop(turn_id, [])]
            case UserMessage() if event.message_id == self.leave_out:
                pass
            case UserMessage() if turn_id in self._started or event.message_id in self._tried:
                return [PastMessage("user", event.content)]
            case UserMessage():
                self._steered.setdefault(turn_id, []).append(event.content)
            case _:
                pass
        return []


@attrs.frozen
class Around:
    """The checkpoints before and after a turn, by id; None if there is none (yet)."""

    before: str | None = None
    after: str | None = None


async def checkpoints_around(journal: Journal, session_id: str, turn_id: str) -> Around:
    """Return the checkpoints of a turn. Raises StorageError."""
    found: dict[str, str] = {}
    before: int | None = None
    while rows := await journal.read(
        session_id, 0, CHECKPOINT_ROWS, before=before, kinds={Checkpoint.kind}, newest=True
    ):
        for row in reversed(rows):
            event = decode_row(row).event
            if isinstance(event, Checkpoint) and event.of_turn == turn_id:
                found.setdefault(event.position, event.checkpoint_id)
        if "before" in found:  # the one after a turn stands behind it
            break
        before = rows[0].seq
    return Around(found.get("before"), found.get("after"))
