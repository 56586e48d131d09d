"""Turns a message of the old server into the journal events of a finished turn. Pure.

A question with an answer is a turn like any other. A question without one never started a turn, so its delivery is
`failed`. An answer without a question, or whose question already has an answer, is a turn of its own, as after a retry.
So the list of messages has exactly one entry for each message of the old server, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from actors.events.codec import encode_entry
from actors.events.committed import TURN_ENDS, Committed, Event
from actors.events.conversation import Complete, Delivery, Message, TurnError, TurnStarted, UserMessage
from actors.events.pieces import split_text
from actors.session.apply import apply
from actors.session.state import SessionState
from builderos.legacy.plan import ID_PREFIX, OldEntry
from storage.records import Entry

__all__ = ["Unit", "encode", "tell", "units"]

BLOCK = "1"
"""The name of an imported answer's only block."""


@attrs.frozen
class Unit:
    """Messages that stay together: a question with the answer directly after it, or a single message.

    Attributes:
        turn_id: the turn of the question: that of its answer, here or later.
        answered: whether its question has an answer, here or later.
    """

    said: tuple[OldEntry, ...]
    turn_id: str
    answered: bool

    @property
    def at_ms(self) -> int:
        """The time of its first message."""
        return self.said[0].at_ms

    def until(self, at_ms: int) -> tuple[Unit, ...]:
        """Return it unchanged, or split into question and answer if something at `at_ms` lies between."""
        if self.said[-1].at_ms <= at_ms:
            return (self,)
        return tuple(attrs.evolve(self, said=(entry,)) for entry in self.said)


def units(entries: Sequence[OldEntry]) -> Iterator[Unit]:
    """Yield the units, in order."""
    answers = {entry.answers: entry.message_id for entry in reversed(entries) if entry.is_answer}
    number = 0
    while number < len(entries):
        entry = entries[number]
        after = entries[number + 1] if number + 1 < len(entries) else None
        pair = not entry.is_answer and after is not None and answers.get(entry.message_id) == after.message_id
        together = tuple(entries[number : number + 2]) if pair else (entry,)
        yield Unit(
            together,
            answers.get(entry.message_id, entry.message_id),
            entry.is_answer or entry.message_id in answers,
        )
        number += len(together)


def tell(state: SessionState, unit: Unit, device_id: str) -> Iterator[Entry]:
    """Yield the entries of a unit, and apply each to `state` before the next is made."""
    for place, entry in enumerate(unit.said):
        telling = _TurnWriter(state, entry, device_id)
        if entry.is_answer:
            yield from telling.answer()
        else:
            yield from telling.question(unit, waits=place + 1 == len(unit.said))


@attrs.frozen
class _TurnWriter:
    state: SessionState
    said: OldEntry
    device_id: str

    def question(self, unit: Unit, *, waits: bool) -> Iterator[Entry]:
        said = self.said
        message = UserMessage(said.message_id, said.content, said.attachments)
        yield self._emit(message, unit.turn_id, self.device_id)
        if not unit.answered:
            self.state.arriving.pop(said.message_id, None)
            yield self._emit(Delivery(said.message_id, "failed"), unit.turn_id)
        elif waits:
            yield self._emit(Delivery(said.message_id, "queued"), unit.turn_id)

    def answer(self) -> Iterator[Entry]:
        said, turn_id = self.said, self.said.message_id
        message_id = said.answers or said.message_id
        yield self._emit(TurnStarted(message_id), turn_id)
        yield self._emit(Delivery(message_id, "handed"), turn_id)
        yield self._emit(Delivery(message_id, "consumed"), turn_id)
        assert self.state.turn is not None
        text, offset = self.state.turn.answer, 0
        for piece in split_text(said.content):
            yield self._emit(Message(piece, BLOCK, offset), turn_id)
            offset += len(piece)
        yield self._emit(Delivery(message_id, "failed" if said.is_error else "answered"), turn_id)
        end = (
            _error(said) if said.is_error else Complete(self.state.message_count, text.length, text.sha256())
        )
        yield self._emit(end, turn_id)

    def _emit(self, event: Event, turn_id: str, device_id: str | None = None) -> Entry:
        seq = self.state.head_seq + 1
        item = Committed(seq, seq, self.said.at_ms, turn_id, device_id, event)
        apply(self.state, item)
        return encode(item)


def encode(item: Committed) -> Entry:
    """Return the entry for an event of a finished turn: searchable, and recognisable by a later import.

    An answer's text is indexed in the row into which its pieces were folded, and these are such rows. The end of an
    imported turn has the turn's id as its command id, so an import knows which answers exist.
    """
    entry = encode_entry(item)
    event = item.event
    if isinstance(event, Message):
        return attrs.evolve(entry, search_text=event.content)
    if entry.kind in TURN_ENDS and (item.turn_id or "").startswith(ID_PREFIX):
        return attrs.evolve(entry, command_id=item.turn_id, command_state="imported")
    return entry


def _error(answer: OldEntry) -> TurnError:
    if not answer.content:
        return TurnError("agent_exited", "The old server stored no answer to this.", retryable=False)
    return TurnError("agent_protocol", "The old server stored this failure as an answer.", retryable=False)
