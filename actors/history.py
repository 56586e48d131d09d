"""What was said in a session before a turn, for an agent that lost its own memory of it."""

from __future__ import annotations

from actors.codec import decode_row
from actors.events import Message, TurnStarted, UserMessage
from actors.ports import Journal
from bridgehub.protocol.messages import PastMessage

__all__ = ["read_history"]

PAGE_ROWS = 128
"""Rows read at once; a page is also bounded in bytes by the journal."""

MAX_HISTORY_BYTES = 1024 * 1024
"""UTF-8 of one history, whatever a driver asks for: it travels in one line of the hub's link."""

_KINDS = (UserMessage.kind, TurnStarted.kind, Message.kind)


async def read_history(
    journal: Journal, session_id: str, *, before_seq: int, limit_bytes: int
) -> tuple[PastMessage, ...]:
    """Return the newest messages and answers before `before_seq` that fit in `limit_bytes`, oldest first.

    Only turns that had started count: what waited, or was taken back, was said to nobody. An answer that does
    not fit whole ends the history.

    Raises:
        StorageError: the journal could not be read.
    """
    left = min(limit_bytes, MAX_HISTORY_BYTES)
    newest_first: list[PastMessage] = []
    answers: dict[str | None, list[str]] = {}
    started: set[str] = set()
    before = before_seq
    while rows := await journal.read(session_id, 0, PAGE_ROWS, before=before, kinds=_KINDS, newest=True):
        for row in reversed(rows):
            event = decode_row(row).event
            said: PastMessage | None = None
            if isinstance(event, Message):
                answers.setdefault(row.turn_id, []).append(event.content)
            elif isinstance(event, TurnStarted):
                started.add(event.message_id)
                parts = answers.pop(row.turn_id, [])
                said = PastMessage("assistant", "".join(reversed(parts))) if parts else None
            elif isinstance(event, UserMessage) and event.message_id in started:
                said = PastMessage("user", event.content)
            if said is not None:
                left -= len(said.content.encode())
                if left < 0:
                    return tuple(reversed(newest_first))
                newest_first.append(said)
        before = rows[0].first_seq
    return tuple(reversed(newest_first))
