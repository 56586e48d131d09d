"""Reads from the journal what the app has not seen (PROTOCOL section 4, rule 11): the rest of an answer that ended while
it was away, and what the agent said in turns that it began by itself.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.events.codec import decode_row
from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import Message, TurnError, TurnStarted, UserMessage
from actors.ports import Journal
from storage.tables.app_exchanges import OpenExchange
from transport.ios.text import BEGUN_AGAIN, SummaryFilter, bare_error

__all__ = ["Rest", "rest_of", "said_by_itself"]

PAGE_ROWS: Final = 256

REST_LIMIT: Final = 1024 * 1024
"""Code points of a rest: more than a phone shows, and the most that one connection holds for it."""

LOOKED_AT: Final = 256
"""Messages and turns in which the device's earlier message is looked for; with more in between, nothing is sent."""

CUT: Final = "\n\n[The answer is longer; another device shows all of it.]"

_GONE: Final = frozenset({"cancelled"})
_STARTS: Final = (UserMessage.kind, TurnStarted.kind)
_KINDS: Final = TURN_ENDS | {Message.kind, TurnStarted.kind}


@attrs.frozen
class Rest:
    """The part of an ended answer that the app has not seen; empty if it saw all."""

    message_id: str
    text: str


@attrs.define
class _Answer:
    """Gathers one turn's text without summaries, from code point `skip` on."""

    message_id: str
    skip: int
    turn_id: str | None = None
    parts: list[str] = attrs.field(factory=list)
    length: int = 0
    kept: int = 0
    end: str | None = None
    cut: SummaryFilter = attrs.field(factory=SummaryFilter)

    def take(self, item: Committed) -> None:
        event = item.event
        if isinstance(event, TurnStarted):
            if event.message_id == self.message_id:
                self.turn_id = item.turn_id
        elif item.turn_id != self.turn_id or self.turn_id is None:
            return
        elif isinstance(event, Message):
            self.add(self.cut.feed(event.content) if event.content else self.cut.flush() + BEGUN_AGAIN)
        elif event.kind in TURN_ENDS:
            self.add(self.cut.flush())
            self.end = (
                f"\n\n[It ended with: {bare_error(event.content)}]" if isinstance(event, TurnError) else ""
            )

    def add(self, text: str) -> None:
        fresh = text[max(0, self.skip - self.length) :]
        self.length += len(text)
        if fresh and self.kept <= REST_LIMIT:
            self.parts.append(fresh)
            self.kept += len(fresh)

    def rest(self) -> str:
        text = "".join(self.parts)
        text = text[:REST_LIMIT] + CUT if len(text) > REST_LIMIT else text
        return text + (self.end or "") if text or self.end else ""


async def rest_of(journal: Journal, session_id: str, exchange: OpenExchange, before: int) -> Rest | None:
    """Return the part of one answer that the app must still get; None if its turn has not ended.

    Args:
        before: only rows below this seq count, which the session's tail has shown.

    Raises:
        StorageError: the journal could not be read.
    """
    message_id = exchange.message_id
    command = (await journal.find_commands(session_id, [message_id])).get(message_id)
    if command is None or command.state in _GONE:
        return Rest(message_id, "")
    answer = _Answer(message_id, exchange.told)
    after = command.seq - 1
    while True:
        rows = await journal.read(session_id, after, PAGE_ROWS, before=before, kinds=_KINDS)
        if not rows:
            return None
        for row in rows:
            answer.take(decode_row(row))
            if answer.end is not None:
                return Rest(message_id, answer.rest())
        after = rows[-1].seq


async def said_by_itself(
    journal: Journal, session_id: str, label: str, message_id: str, before: int
) -> list[str]:
    """Return what the agent said in the turns without a message between a device's turn and the one before it.

    Args:
        label: the device.
        message_id: its message, whose turn has started.
        before: only rows below this seq count.

    Raises:
        StorageError: the journal could not be read.
    """
    rows = await journal.read(session_id, 0, LOOKED_AT, before=before, kinds=_STARTS, newest=True)
    items = [decode_row(row) for row in rows]
    mine = {
        item.event.message_id
        for item in items
        if isinstance(item.event, UserMessage) and item.device_id == label
    }
    starts = [(item, item.event) for item in items if isinstance(item.event, TurnStarted)]
    at = next((n for n in reversed(range(len(starts))) if starts[n][1].message_id == message_id), 0)
    since = next((n for n in reversed(range(at)) if starts[n][1].message_id in mine), at)
    texts = []
    for item, event in starts[since + 1 : at]:
        if event.message_id is None:
            text = await _text_of(journal, session_id, item, before)
            texts += [text] if text else []
    return texts


async def _text_of(journal: Journal, session_id: str, started: Committed, before: int) -> str:
    answer, after = _Answer("", 0, started.turn_id), started.seq
    while rows := await journal.read(session_id, after, PAGE_ROWS, before=before, kinds=_KINDS):
        for row in rows:
            answer.take(decode_row(row))
            if answer.end is not None:
                return answer.rest()
        after = rows[-1].seq
    return answer.rest()
