"""Brings a session's state back from storage, as it was at its last append."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
import trio

from actors.events.codec import decode_row
from actors.events.conversation import Message, Thinking, UserMessage
from actors.offer import NO_OFFER, decode_offer
from actors.ports import Catalog, Journal
from actors.session.snapshot import restore
from actors.session.state import PREVIEW_LENGTH, SessionState
from storage.errors import OutcomeUnknown, SessionMissing, StorageUnavailable
from storage.records import SessionRecord

__all__ = ["STORAGE_DOWN", "load_state", "was_stored"]

log = logging.getLogger("builderos.actors")

STORAGE_DOWN = (StorageUnavailable, OutcomeUnknown)
"""What passes by itself: the state is thrown away, and loaded again once the journal writes."""

PAGE_ROWS = 256
"""Rows read at once; a page is also bounded in bytes by the journal."""

_PIECES = (Message.kind, Thinking.kind)


async def load_state(
    catalog: Catalog, journal: Journal, session_id: str
) -> tuple[SessionRecord, SessionState]:
    """Load a session: its record, and the state with the running turn's text and the queue's previews.

    The record is without its summary: that is in the state, and would stay in memory twice.

    Raises:
        SessionMissing: there is no such session.
        StorageError: it could not be read.
    """
    record = await catalog.get(session_id)
    if record is None:
        raise SessionMissing(session_id)
    state = restore(record)
    if state.turn is not None:
        await _load_answer(journal, state)
        state.turn.preview = await _load_preview(journal, session_id, state.turn.message_seq)
    steered = state.turn.steered.values() if state.turn is not None else ()
    for waiting in (*state.queue.values(), *state.unknown.values(), *steered):
        waiting.preview = await _load_preview(journal, session_id, waiting.seq)
    offer = await catalog.offer_of(record.agent_type)
    state.offer = NO_OFFER if offer is None else decode_offer(offer)
    state.control_dirty = False  # what was just loaded need not be written again
    return attrs.evolve(record, summary=None), state


async def was_stored(
    journal: Journal, session_id: str, expected: int, retry_s: float, waits: Callable[[str], None]
) -> bool:
    """Return whether an append at `expected` is in the journal. Asks its head every `retry_s`, until it answers; calls
    `waits` with the reason each time that it does not.

    The grant makes the caller the only one who could have moved the head.
    """
    while True:
        try:
            return (await journal.head(session_id)).seq != expected
        except STORAGE_DOWN as exc:
            log.warning("session %s: the journal cannot be read: %s", session_id, exc)
            waits(str(exc))
            await trio.sleep(retry_s)


async def _load_preview(journal: Journal, session_id: str, seq: int) -> str:
    rows = await journal.read(session_id, seq - 1, 1)
    message = decode_row(rows[0]).event
    return message.content[:PREVIEW_LENGTH] if isinstance(message, UserMessage) else ""


async def _load_answer(journal: Journal, state: SessionState) -> None:
    assert state.turn is not None
    after = state.turn.started_seq
    while rows := await journal.read(state.session_id, after, PAGE_ROWS, kinds=_PIECES):
        for row in rows:
            state.turn.answer.add(decode_row(row))
        after = rows[-1].seq
