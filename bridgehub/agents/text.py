"""Fits text and tool data into events (whole characters, bounded sizes, valid UTF-8), and a history into a prompt."""

from __future__ import annotations

import json
from typing import Any

import attrs
import orjson

from bridgehub.agents.pictures import picture_of
from bridgehub.blobs import Blob, blob_of
from bridgehub.protocol.messages import History

__all__ = [
    "MAX_PIECE_BYTES",
    "MAX_TOOL_BYTES",
    "Cut",
    "clean_text",
    "cut_bytes",
    "cut_json",
    "cut_text",
    "history_text",
    "split_text",
    "tool_output_text",
]

MAX_PIECE_BYTES = 256 * 1024
"""Bytes of JSON that the text of one piece may take: the limit of the protocol."""

MAX_TOOL_BYTES = 64 * 1024
"""Bytes of a tool's input or output that an event carries. A longer one is kept whole as a blob."""

_WORST_BYTES_PER_CODE_POINT = 6  # a control character as \u00XX


@attrs.frozen
class Cut:
    """Tool data in an event: all of it, or its beginning as text and the whole as a blob."""

    value: Any
    whole: Blob | None = None

    @property
    def blob(self) -> dict[str, Any] | None:
        """The event's reference to the whole. None if `value` is all of it."""
        return None if self.whole is None else self.whole.told()


def clean_text(text: str) -> str:
    """Return `text` with U+FFFD in place of unpaired surrogates, which UTF-8 cannot hold."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def split_text(text: str, limit: int = MAX_PIECE_BYTES) -> list[str]:
    """Cut a clean text into pieces of at most `limit` bytes of JSON each. An empty text gives none."""
    if not text:
        return []
    if _fits(text, limit):
        return [text]
    middle = len(text) // 2
    return split_text(text[:middle], limit) + split_text(text[middle:], limit)


def cut_text(text: str, limit: int = MAX_TOOL_BYTES) -> Cut:
    """Return the text, or the first whole characters of a text over `limit` bytes."""
    return cut_bytes(clean_text(text).encode(), limit)


def cut_bytes(data: bytes, limit: int = MAX_TOOL_BYTES) -> Cut:
    """Do the same with a text as bytes. Bytes that are not UTF-8 are dropped from the value but kept in the blob."""
    if len(data) <= limit:
        return Cut(data.decode(errors="replace"))
    return Cut(data[:limit].decode(errors="ignore"), blob_of(data))


def cut_json(value: object, limit: int = MAX_TOOL_BYTES) -> Cut:
    """Return the value, or the beginning of its JSON as text if that has over `limit` bytes.

    A value that our JSON cannot hold also becomes text: an unpaired surrogate, or a number over 64 bits.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:
        return cut_text(json.dumps(value, ensure_ascii=False, default=str), limit)
    return Cut(value) if len(data) <= limit else cut_text(data.decode(), limit)


def tool_output_text(content: object) -> str:
    """Return the output of a tool as one text, with the text of embedded resources. Other parts are named in brackets."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return json.dumps(content, default=str)
    return "\n".join(map(_part_text, content))


def _part_text(part: object) -> str:
    if not isinstance(part, dict):
        return str(part)
    match part.get("type"):
        case "text":
            return str(part.get("text", ""))
        case "resource":
            resource = part.get("resource")
            inner = resource if isinstance(resource, dict) else {}
            return (
                inner["text"] if isinstance(inner.get("text"), str) else f"[{inner.get('uri') or 'resource'}]"
            )
        case "resource_link":
            return f"[{part.get('name') or 'file'}]({part.get('uri')})"
    picture = picture_of(part)
    return f"[{part.get('type', 'data')}]" if picture is None else picture.words


def _fits(text: str, limit: int) -> bool:
    if len(text) * _WORST_BYTES_PER_CODE_POINT <= limit:
        return True
    return len(text) <= limit and len(orjson.dumps(text)) - 2 <= limit


def history_text(history: History) -> str:
    """Return what was said before, as a text that goes in front of the prompt."""
    lines = [
        "Your own memory of this conversation was lost. This is what was said in it before, oldest first, "
        "as context for the message that follows:",
        "",
    ]
    if history.left_out:
        lines.append(f"[{history.left_out} older messages are left out]")
    lines += [f"{message.role}: {message.content}" for message in history.messages]
    return "\n".join(lines)
