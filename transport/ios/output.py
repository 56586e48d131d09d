"""The output for the iOS app, in order, before it becomes frames with a pace, and the request that was shown last. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from actors.events.committed import Committed
from actors.events.conversation import Complete, Interrupted, Message, TurnError, Usage
from transport.ios.text import SummaryFilter, bare_error

__all__ = [
    "EARLIER",
    "NOW",
    "WHOLE_LIMIT",
    "End",
    "LastRequest",
    "Missed",
    "Output",
    "OwnTurn",
    "Peer",
    "PeerTurn",
    "TextOutput",
    "end_of",
    "joined",
]

WHOLE_LIMIT: Final = 1024 * 1024
"""Code points of a turn that are kept for its whole answer; more than a phone can show."""

EARLIER: Final = "[The rest of the earlier answer:]\n\n"
NOW: Final = "\n\n[The answer to this message:]\n\n"


@attrs.frozen
class TextOutput:
    """A piece for `message`. `told`: the code points of `message_id`'s answer that are sent with it.

    `alone`: not joined with its neighbours. `request_id`: the request that it shows.
    """

    content: str
    message_id: str | None = None
    told: int = 0
    alone: bool = False
    request_id: str | None = None


@attrs.frozen
class End:
    """The end of an exchange: `complete`, or `error` with its text. `closes`: messages that are complete."""

    error: str | None = None
    code: str | None = None
    usage: Usage | None = None
    message_count: int | None = None
    closes: tuple[str, ...] = ()


@attrs.frozen
class Peer:
    """An event of another connection's turn, under the name `kind`."""

    kind: str
    item: Committed


@attrs.frozen
class Missed:
    """Precedes other output: the rest of answers that ended while the app was away.

    Attributes:
        message_id: the message whose turn begins.
        owes_own: whether the agent may have begun turns by itself before it.
    """

    message_id: str
    owes_own: bool


Output = TextOutput | End | Peer | Missed


@attrs.define
class OwnTurn:
    """A message of this connection, until its turn's end."""

    message_id: str
    open: bool = True
    turn_id: str | None = None
    text: list[str] = attrs.field(factory=list)
    length: int = 0
    told: int = 0
    cut: SummaryFilter = attrs.field(factory=SummaryFilter)

    def add(self, piece: str) -> None:
        """Keep a piece."""
        if piece and self.length < WHOLE_LIMIT:
            self.text.append(piece)
        self.length += len(piece)

    def whole(self) -> str:
        """Return the kept text."""
        return "".join(self.text)


@attrs.define
class PeerTurn:
    """Another connection's turn: its filter, and how much of each block was sent."""

    cut: SummaryFilter = attrs.field(factory=SummaryFilter)
    offsets: dict[str, int] = attrs.field(factory=dict)


def end_of(item: Committed, closes: tuple[str, ...]) -> End:
    """Return the output for a turn's end."""
    event = item.event
    if isinstance(event, TurnError):
        return End(bare_error(event.content), event.code, closes=closes)
    if isinstance(event, Complete):
        return End(usage=event.usage, message_count=event.message_count, closes=closes)
    assert isinstance(event, Interrupted)
    return End(closes=closes)


def joined(left: Output, right: Output) -> Output | None:
    """Return both outputs as one if they may share a frame."""
    if isinstance(left, TextOutput) and isinstance(right, TextOutput):
        if left.alone or right.alone:
            return None
        progress: Mapping[str, Any] = {"message_id": right.message_id, "told": right.told}
        if right.message_id is None:
            progress = {"message_id": left.message_id, "told": left.told}
        return TextOutput(left.content + right.content, **progress)
    if isinstance(left, Peer) and isinstance(right, Peer):
        one, two = left.item.event, right.item.event
        if (
            left.item.turn_id == right.item.turn_id
            and isinstance(one, Message)
            and isinstance(two, Message)
            and one.block == two.block
            and one.content
            and two.content
        ):
            event = attrs.evolve(one, content=one.content + two.content)
            return Peer(left.kind, attrs.evolve(left.item, seq=right.item.seq, event=event))
    return None


@attrs.define(eq=False)
class LastRequest:
    """The last request that was written to the app on one connection, over all its sessions: a decision applies to it."""

    session_id: str = ""
    request_id: str | None = None

    def show(self, session_id: str, request_id: str) -> None:
        """Record that a request is written to the app."""
        self.session_id, self.request_id = session_id, request_id

    def of(self, session_id: str) -> str | None:
        """Return the request that a decision for this session applies to, if it still waits; None if there is none."""
        return self.request_id if session_id == self.session_id else None
