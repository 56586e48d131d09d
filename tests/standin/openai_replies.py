"""How an answer looks as the Responses API streams it, and one kind of call that only Codex's models make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import orjson
import trio

from tests.standin.replies import Answer, Piece, Text, Thinking, ToolUse

__all__ = ["patch", "stream_response"]

FREEFORM = "input"
"""A `ToolUse` whose input has only this key, on a tool of `FREEFORM_TOOLS`, is a call with bare text."""

FREEFORM_TOOLS = frozenset({"apply_patch", "exec"})


def patch(text: str) -> ToolUse:
    """Return a call of Codex's `apply_patch` with that patch."""
    return ToolUse("apply_patch", {FREEFORM: text})


@attrs.define
class _Item:
    """One item of the output and its place."""

    index: int
    body: dict[str, Any]

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "output_index": self.index, "item_id": self.body["id"], **fields}

    def added(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"type": "response.output_item.added", "output_index": self.index, "item": body}

    def done(self) -> dict[str, Any]:
        return {"type": "response.output_item.done", "output_index": self.index, "item": self.body}


def stream_response(
    answer: Answer, *, number: int, model: str, is_whole: bool = True
) -> Iterator[dict[str, Any] | trio.Event]:
    """Give the events of a streamed answer in order, with the gates between them.

    Args:
        answer: what to say.
        number: makes its ids unique in the stand-in's life.
        model: the model asked for.
        is_whole: without it the stream stops inside the first block.
    """
    head = {"id": f"resp_{number}", "object": "response", "model": model, "created_at": 0}
    yield {"type": "response.created", "response": head | {"status": "in_progress", "output": []}}
    items: list[dict[str, Any]] = []
    for index, block in enumerate(answer.blocks):
        item = _Item(index, _item(block, f"{number}_{index}"))
        items.append(item.body)
        yield item.added(_empty(item.body))
        yield from _deltas(block, item)
        if not is_whole:
            return
        yield item.done()
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    body = head | {"status": "completed", "output": items, "usage": usage}
    yield {"type": "response.completed", "response": body}


def _deltas(block: Text | Thinking | ToolUse, item: _Item) -> Iterator[dict[str, Any] | trio.Event]:
    match block:
        case Text(pieces):
            part = {"content_index": 0, "part": {"type": "output_text", "text": "", "annotations": []}}
            yield item.event("response.content_part.added", **part)
            for piece in pieces:
                yield _delta(item, "response.output_text.delta", piece, content_index=0)
        case Thinking(pieces):
            part = {"summary_index": 0, "part": {"type": "summary_text", "text": ""}}
            yield item.event("response.reasoning_summary_part.added", **part)
            for piece in pieces:
                yield _delta(item, "response.reasoning_summary_text.delta", piece, summary_index=0)
        case ToolUse():
            return


def _delta(item: _Item, kind: str, piece: Piece, **fields: Any) -> dict[str, Any] | trio.Event:
    return piece if isinstance(piece, trio.Event) else item.event(kind, delta=piece, **fields)


def _item(block: Text | Thinking | ToolUse, place: str) -> dict[str, Any]:
    match block:
        case Text(pieces):
            text = {"type": "output_text", "text": _joined(pieces), "annotations": []}
            return {"id": f"msg_{place}", "type": "message", "role": "assistant", "content": [text]}
        case Thinking(pieces):
            summary = [{"type": "summary_text", "text": _joined(pieces)}]
            return {"id": f"rs_{place}", "type": "reasoning", "summary": summary, "encrypted_content": "eA=="}
        case ToolUse(name, tool_input, tool_id):
            call_id = tool_id or f"call_{place}"
            if name in FREEFORM_TOOLS and set(tool_input) == {FREEFORM}:
                call = {"type": "custom_tool_call", "input": tool_input[FREEFORM]}
            else:
                call = {"type": "function_call", "arguments": orjson.dumps(tool_input).decode()}
            namespace, _, tool = name.rpartition("/")
            inside = {"namespace": namespace} if namespace else {}
            return {"id": f"fc_{place}", "call_id": call_id, "name": tool, **inside, **call}


def _empty(body: dict[str, Any]) -> dict[str, Any]:
    return {name: [] if isinstance(value, list) else value for name, value in body.items()}


def _joined(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))
