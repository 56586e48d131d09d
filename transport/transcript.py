"""A session's journal as a list of messages, for `/api/sessions/{id}/messages`. Pure.

An entry is a user message or the answer of a turn. Its place is that of a row: the `user_message`, or the
`turn_started`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import attrs

from actors.events.committed import TURN_ENDS, Committed
from actors.events.conversation import (
    Complete,
    DeliveryState,
    Interrupted,
    Message,
    TurnError,
    TurnStarted,
    UserMessage,
)
from transport.v3.events import timestamp

__all__ = ["ANSWER_KINDS", "ENTRY_KINDS", "Answers", "TurnAnswer", "entries"]

ENTRY_KINDS: Final = frozenset({UserMessage.kind, TurnStarted.kind})
"""The kinds of rows that are entries."""

_DELIVERY_STATES: Final = frozenset(get_args(DeliveryState))

ANSWER_KINDS: Final = TURN_ENDS | {Message.kind}
"""The kinds of rows that an answer consists of."""


@attrs.define
class _Block:
    """The text of one block as a list of pieces: joining at each piece would make a long block quadratic."""

    pieces: list[str] = attrs.field(factory=list)
    length: int = 0

    def add(self, piece: Message) -> None:
        if piece.offset < self.length:
            self.pieces = ["".join(self.pieces)[: piece.offset]]
            self.length = len(self.pieces[0])
        self.pieces.append(piece.content)
        self.length += len(piece.content)


@attrs.define
class TurnAnswer:
    """The text of a turn so far, and how it ended."""

    status: str = "running"
    error: dict[str, Any] | None = None
    length: int = 0
    _blocks: dict[str, _Block] = attrs.field(factory=dict)

    def add(self, piece: Message) -> None:
        """Add a piece of the answer. Costs only the piece's length, unless it replaces text."""
        block = self._blocks.setdefault(piece.block, _Block())
        self.length -= block.length
        block.add(piece)
        self.length += block.length

    @property
    def blocks(self) -> dict[str, str]:
        """The text of each block that has any: what a block had may have been taken back."""
        return {name: "".join(block.pieces) for name, block in self._blocks.items() if block.length}

    @property
    def content(self) -> str:
        """The blocks, joined in the order of their first appearance."""
        return "".join(piece for block in self._blocks.values() for piece in block.pieces)


class Answers:
    """Gathers the answers of some turns from the rows after their start."""

    def __init__(self, turn_ids: Iterable[str]) -> None:
        self.by_turn = {turn_id: TurnAnswer() for turn_id in turn_ids}
        self._running = set(self.by_turn)

    @property
    def length(self) -> int:
        """Code points of all answers so far."""
        return sum(answer.length for answer in self.by_turn.values())

    @property
    def complete(self) -> bool:
        """Whether the ends of all these turns were seen."""
        return not self._running

    def add(self, items: Iterable[Committed]) -> None:
        """Add rows, in the journal's order."""
        for item in items:
            answer = self.by_turn.get(item.turn_id) if item.turn_id is not None else None
            if answer is not None:
                self._add(answer, item)

    def _add(self, answer: TurnAnswer, item: Committed) -> None:
        event = item.event
        if isinstance(event, Message):
            answer.add(event)
            return
        if isinstance(event, Complete):
            answer.status = "complete"
        elif isinstance(event, Interrupted):
            answer.status = "interrupted"
        elif isinstance(event, TurnError):
            answer.status = "error"
            answer.error = {"code": event.code, "content": event.content}
        else:
            return
        self._running.discard(item.turn_id or "")


def entries(
    items: Sequence[Committed], states: Mapping[str, str], answers: Mapping[str, TurnAnswer]
) -> list[dict[str, Any]]:
    """Return the entries of `items`, which are of `ENTRY_KINDS`.

    Args:
        items: ascending.
        states: the newest delivery state of each message id.
        answers: by turn id.
    """
    return [_entry(item, states, answers) for item in items]


def _delivery(state: str | None) -> str:
    """Return a delivery state. A message with only its `user_message` in the journal is queued."""
    return state if state is not None and state in _DELIVERY_STATES else "queued"


def _entry(item: Committed, states: Mapping[str, str], answers: Mapping[str, TurnAnswer]) -> dict[str, Any]:
    event = item.event
    base = {"seq": item.seq, "turn_id": item.turn_id, "timestamp": timestamp(item.at_ms)}
    if isinstance(event, UserMessage):
        return {
            **base,
            "role": "user",
            "message_id": event.message_id,
            "content": event.content,
            "device_id": item.device_id,
            "attachments": [attrs.asdict(attachment) for attachment in event.attachments],
            "status": _delivery(states.get(event.message_id)),
        }
    answer = answers.get(item.turn_id or "", TurnAnswer())
    cause = getattr(event, "cause", None)
    made: dict[str, Any] = {
        **base,
        "role": "assistant",
        "content": answer.content,
        "device_id": None,
        "attachments": [],
        "status": answer.status,
        **({} if cause is None else {"cause": cause}),
    }
    return made if answer.error is None else {**made, "error": answer.error}
