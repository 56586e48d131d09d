"""The codec of the terminal's WebSocket: frames of version 3, from a device's point of view.

Pure: text in, frozen class out, and back. Unknown fields are kept in `Frame.body` and otherwise ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import orjson

__all__ = ["TURN_ENDS", "Frame", "FrameError", "SeenPosition", "decode", "encode"]

TURN_ENDS = frozenset({"complete", "error", "interrupted"})


class FrameError(Exception):
    """The server sent something that is not a frame of version 3."""


@attrs.frozen
class SeenPosition:
    """A place in a session's journal."""

    epoch: int
    seq: int


@attrs.frozen
class Frame:
    """One frame from the server. `seq` is None for a frame that is for this connection only."""

    kind: str
    content: str
    session_id: str | None
    epoch: int | None
    seq: int | None
    first_seq: int | None
    turn_id: str | None
    device_id: str | None
    body: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def ends_turn(self) -> bool:
        """Whether this is the last event of a turn."""
        return self.seq is not None and self.turn_id is not None and self.kind in TURN_ENDS

    def text(self, name: str) -> str:
        """Return a text field; empty if it is absent or of another type."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        """Return a number field; 0 if it is absent or of another type."""
        value = self.body.get(name)
        return value if type(value) is int else 0

    def tables(self, name: str) -> list[Mapping[str, Any]]:
        """Return a field that lists objects; empty if it is absent or of another type."""
        value = self.body.get(name)
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def decode(text: str | bytes) -> Frame:
    """Read one frame. Raises FrameError."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise FrameError("a frame is not JSON") from error
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise FrameError("a frame has no type")
    # the answer to a send has the seq of its message, but is not an event itself
    seq = None if body["type"] == "accepted" else _whole(body, "seq")
    first = _whole(body, "first_seq")
    return Frame(
        kind=body["type"],
        content=_text(body, "content") or "",
        session_id=_text(body, "session_id"),
        epoch=_whole(body, "epoch"),
        seq=seq,
        first_seq=seq if first is None else first,
        turn_id=_text(body, "turn_id"),
        device_id=_text(body, "device_id"),
        body=body,
    )


def encode(kind: str, **fields: Any) -> str:
    """Write one frame; fields that are None are left out."""
    body = {"type": kind} | {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps(body).decode()


def _whole(body: Mapping[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int:
        raise FrameError(f"{name} is not a whole number")
    return value


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None
