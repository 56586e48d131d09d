"""What the stand-in for the model service may answer, and how an answer looks as server-sent events.

An answer is a row of blocks. Between two pieces of a block there may be a gate, an event that the test sets
when the stream shall continue; so a test paces the stream without sleeping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson
import trio

__all__ = [
    "Answer",
    "Block",
    "Broken",
    "Failure",
    "Hang",
    "Piece",
    "Reply",
    "Text",
    "Thinking",
    "ToolUse",
    "stream_answer",
    "whole_answer",
]

Piece = str | trio.Event


@attrs.frozen
class Text:
    """A block of text; each string is one `text_delta`, each event is waited for."""

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, *pieces: Piece) -> Text:
        """Build a block from its pieces and gates."""
        return cls(pieces)


@attrs.frozen
class Thinking:
    """A block of reasoning, in pieces like `Text`."""

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, *pieces: Piece) -> Thinking:
        """Build a block from its pieces and gates."""
        return cls(pieces)


@attrs.frozen
class ToolUse:
    """A call of a tool. Without an id of its own it gets one from its place in the stand-in's life."""

    name: str
    input: dict[str, Any]
    tool_id: str | None = None


Block = Text | Thinking | ToolUse


@attrs.frozen
class Answer:
    """A good answer of the service."""

    blocks: tuple[Block, ...]
    input_tokens: int = 11
    cached_tokens: int = 5
    output_tokens: int = 7

    @classmethod
    def of(cls, *blocks: Block | str) -> Answer:
        """Build an answer; a bare string is a text block of one piece."""
        return cls(tuple(Text((block,)) if isinstance(block, str) else block for block in blocks))


@attrs.frozen
class Failure:
    """An answer with an HTTP error status, in the service's error form; `more` is added to its error, as are `headers`."""

    status: int
    kind: str
    message: str
    retry_after_s: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    more: dict[str, Any] = attrs.field(factory=dict)

    @property
    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Its headers, with the one that says when to try again."""
        again = () if self.retry_after_s is None else (("retry-after", f"{self.retry_after_s:g}"),)
        return (*again, *self.headers)


@attrs.frozen
class Broken:
    """An answer that breaks off in its last block, which is begun and never ended.

    `told`: the class of the error that the service names then; empty: the connection breaks.
    """

    answer: Answer
    told: str = ""


@attrs.frozen
class Hang:
    """No answer at all until the caller gives up."""


Reply = Answer | Broken | Failure | Hang


def stream_answer(answer: Answer, *, number: int, model: str) -> Iterator[dict[str, Any] | trio.Event]:
    """Give the events of a streamed answer in order, with the gates between them."""
    message = _message(answer, number, model)
    message |= {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}}
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(answer.blocks):
        yield from _stream_block(block, index, number)
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _stop_reason(answer), "stop_sequence": None},
        "usage": {"output_tokens": answer.output_tokens},
    }
    yield {"type": "message_stop"}


def whole_answer(answer: Answer, *, number: int, model: str) -> dict[str, Any]:
    """Give the answer as one JSON body, for a caller that does not stream. Gates are not waited for."""
    return _message(answer, number, model)


def _stream_block(block: Block, index: int, number: int) -> Iterator[dict[str, Any] | trio.Event]:
    yield {"type": "content_block_start", "index": index, "content_block": _empty(block, index, number)}
    match block:
        case ToolUse(input=tool_input):
            text = orjson.dumps(tool_input).decode()
            middle = len(text) // 2
            for part in (text[:middle], text[middle:]):
                yield _delta(index, {"type": "input_json_delta", "partial_json": part})
        case Text(pieces):
            for piece in pieces:
                yield (
                    piece
                    if isinstance(piece, trio.Event)
                    else _delta(index, {"type": "text_delta", "text": piece})
                )
        case Thinking(pieces):
            for piece in pieces:
                yield (
                    piece
                    if isinstance(piece, trio.Event)
                    else _delta(index, {"type": "thinking_delta", "thinking": piece})
                )
            yield _delta(index, {"type": "signature_delta", "signature": "c3RhbmRpbg=="})
    yield {"type": "content_block_stop", "index": index}


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _empty(block: Block, index: int, number: int) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": ""}
        case Thinking():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ToolUse(name, _, tool_id):
            return {
                "type": "tool_use",
                "id": tool_id or f"toolu_{number}_{index}",
                "name": name,
                "input": {},
            }


def _whole(block: Block, index: int, number: int) -> dict[str, Any]:
    empty = _empty(block, index, number)
    match block:
        case Text(pieces):
            return empty | {"text": _joined(pieces)}
        case Thinking(pieces):
            return empty | {"thinking": _joined(pieces)}
        case ToolUse(input=tool_input):
            return empty | {"input": tool_input}


def _joined(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _stop_reason(answer: Answer) -> str:
    return "tool_use" if any(isinstance(block, ToolUse) for block in answer.blocks) else "end_turn"


def _message(answer: Answer, number: int, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_standin_{number}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [_whole(block, index, number) for index, block in enumerate(answer.blocks)],
        "stop_reason": _stop_reason(answer),
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens,
            "cache_read_input_tokens": answer.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": answer.output_tokens,
        },
    }
