"""The entries of a conversation as a terminal shows them. Pure.

Each has a `version` that grows with every change, so that a drawing is made again only if it must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

__all__ = ["AnswerEntry", "Entry", "LineEntry", "MessageEntry", "Note", "Part", "TextPart", "ToolEntry"]


@attrs.define(eq=False)
class TextPart:
    """A block of the answer, or of thinking.

    Attributes:
        cuts: how often what was there was taken back; a drawing that grew with the text begins again.
    """

    kind: Literal["text", "thinking"]
    block: str
    text: str = ""
    cuts: int = 0

    def take(self, offset: int, content: str) -> None:
        """Take a piece: what the block had up to its offset, and then it. Right for live, joined and folded pieces."""
        if offset < len(self.text):
            self.cuts += not content.startswith(self.text[offset:])
            self.text = self.text[:offset]
        self.text += content


@attrs.define(eq=False)
class ToolEntry:
    """A tool call. `output` is None until it is finished; `printed`: the newest output while it runs."""

    tool_id: str
    name: str
    input: Any = None
    parent: str | None = None
    output: str | None = None
    printed: str = ""
    is_error: bool = False
    duration_ms: int | None = None
    diff: list[Mapping[str, Any]] = attrs.field(factory=list)
    inner: list[ToolEntry] = attrs.field(factory=list)
    decision: str = ""


@attrs.define(eq=False)
class LineEntry:
    """Something that happened: a decision, a notice, an undo."""

    tone: Literal["notice", "allow", "deny", "unread"]
    text: str


Part = TextPart | ToolEntry | LineEntry


@attrs.define(eq=False)
class MessageEntry:
    """What a person sent. `state`: `sent`, `queued`, a state of the delivery, or `waiting` in our outbox."""

    key: str
    message_id: str
    text: str
    device_id: str | None
    seq: int
    turn_id: str | None = None
    at: str = ""
    files: tuple[str, ...] = ()
    state: str = "sent"
    not_before: str = ""
    place: float = 0.0
    version: int = 0


@attrs.define(eq=False)
class AnswerEntry:
    """A turn's answer: texts, tool calls and lines in the order in which they came."""

    key: str
    turn_id: str
    seq: int
    at: str = ""
    cause: str = ""
    parts: list[Part] = attrs.field(factory=list)
    tools: dict[str, ToolEntry] = attrs.field(factory=dict)
    status: str = "running"
    code: str = ""
    content: str = ""
    by: str = ""
    ended_at: str = ""
    resets_at: str = ""
    ways: tuple[str, ...] = ()
    changed: tuple[int, int, int] | None = None
    undone: bool = False
    passing: str = ""
    place: float = 0.0
    version: int = 0

    @property
    def text(self) -> str:
        """The answer's text, without thinking."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart) and part.kind == "text")


@attrs.define(eq=False)
class Note:
    """A line outside of any turn."""

    key: str
    line: LineEntry
    seq: int
    place: float = 0.0
    version: int = 0


Entry = MessageEntry | AnswerEntry | Note
