"""Pieces of text: how they join, how a long one is cut, and how large they are as JSON (PROTOCOL, "Text")."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

import attrs
import orjson

from actors.events.committed import Committed
from actors.events.conversation import Message, Thinking

__all__ = ["MAX_PIECE_BYTES", "fits", "join_pieces", "json_size", "neighbours", "split_text"]

MAX_PIECE_BYTES = 256 * 1024
"""Bytes of JSON that the text of one frame, and of one folded row, may take."""

_WORST_BYTES_PER_CODE_POINT = 6  # a control character as \u00XX; UTF-8 takes at most 4


def fits(text: str, limit: int = MAX_PIECE_BYTES) -> bool:
    """Tell whether `text` as JSON, quotes left out, is at most `limit` bytes."""
    if len(text) * _WORST_BYTES_PER_CODE_POINT <= limit:
        return True
    return len(text) <= limit and json_size(text) <= limit


def split_text(text: str, limit: int = MAX_PIECE_BYTES) -> list[str]:
    """Cut `text` into the fewest halves of halves that each fit; an empty text gives no piece."""
    if not text:
        return []
    if fits(text, limit):
        return [text]
    middle = len(text) // 2
    return split_text(text[:middle], limit) + split_text(text[middle:], limit)


def neighbours(left: Committed, right: Committed) -> bool:
    """Return whether `right` continues where the piece `left` ends: same turn, kind and block, next seq.

    An empty piece takes back its block, and joins with none.
    """
    one, two = left.event, right.event
    return (
        isinstance(one, Message | Thinking)
        and isinstance(two, Message | Thinking)
        and one.kind == two.kind
        and one.block == two.block
        and bool(one.content and two.content)
        and left.turn_id == right.turn_id
        and right.first_seq == left.seq + 1
    )


def join_pieces(
    items: Iterable[Committed], limit: int = MAX_PIECE_BYTES, *, starts: Container[int] = ()
) -> list[Committed]:
    """Join each run of neighbouring pieces into as few items as `limit` allows; all else stays as it is.

    A piece whose `first_seq` is in `starts` begins an item of its own.
    """
    joined: list[Committed] = []
    run: list[Committed] = []
    size = 0
    for item in items:
        event = item.event
        if not isinstance(event, Message | Thinking):
            joined.extend(_close(run))
            run = []
            joined.append(item)
            continue
        item_size = json_size(event.content)
        apart = item.first_seq in starts or size + item_size > limit
        if run and (apart or not neighbours(run[-1], item)):
            joined.extend(_close(run))
            run = []
        if not run:
            size = 0
        run.append(item)
        size += item_size
    joined.extend(_close(run))
    return joined


def json_size(text: str) -> int:
    """Return the bytes that `text` takes as JSON, quotes left out."""
    return len(orjson.dumps(text)) - 2


def _close(run: Sequence[Committed]) -> Sequence[Committed]:
    if len(run) < 2:
        return run
    first = run[0]
    assert isinstance(first.event, Message | Thinking)
    content = "".join(item.event.content for item in run if isinstance(item.event, Message | Thinking))
    event = attrs.evolve(first.event, content=content)
    return [attrs.evolve(first, seq=run[-1].seq, event=event)]
