"""Entries of a conversation as lines."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final
from weakref import WeakKeyDictionary

import attrs
from rich.segment import Segment
from rich.style import Style

from builderos.client.moments import clock_time
from builderos.terminal.draw.flow import Flow
from builderos.terminal.draw.lines import Segments, flat, paragraph
from builderos.terminal.draw.tool import lasted, tool_lines
from builderos.terminal.model.entries import AnswerEntry, Entry, LineEntry, MessageEntry, TextPart, ToolEntry

__all__ = ["Drawing", "EntryLook", "Pen", "Rough"]

DIM: Final = Style(dim=True)
ITALIC: Final = Style(dim=True, italic=True)
BLUE: Final = Style(color="blue", bold=True)
RED: Final = Style(color="red")
YELLOW: Final = Style(color="yellow")

MARGIN: Final = 2
_MARGIN: Final = Segment(" " * MARGIN)

FOLDED_MESSAGE: Final = 40
"""Lines of a person's message that are shown while all is folded."""

KEPT: Final = 50
"""Long texts whose Markdown is kept."""

_STATES: Final = {
    "queued": "queued",
    "cancelled": "cancelled",
    "unknown": "couldn't confirm that the agent got this",
    "failed": "failed",
}


@attrs.frozen
class EntryLook:
    """How entries are drawn: two equal ones draw the same. Without a `code_style` code has no colours."""

    width: int
    code_style: str = "ansi_dark"
    unfolded: bool = False


@attrs.frozen
class Drawing:
    """The lines of an entry; `tools` says which line is the head of which call."""

    lines: list[Segments]
    tools: dict[int, str]


@attrs.frozen
class Rough:
    """A text that is drawn as plain text, until somebody takes the time for its Markdown (`flow.whole`)."""

    entry_key: str
    text: str
    width: int
    style: str


@attrs.define(eq=False)
class Pen:
    """Draws entries, and remembers how far growing texts are drawn.

    Attributes:
        name_of: returns how a device is called.
        workspace: paths below it are shown relative to it.
        waits: returns what to say of a message that the server does not have yet.
        open_tools: the calls that a person unfolded.
        rough: what was drawn as plain text since somebody emptied this.
    """

    name_of: Callable[[str | None], str]
    workspace: Callable[[], str]
    waits: Callable[[], str] = lambda: "waiting to send"
    open_tools: set[str] = attrs.field(factory=set)
    rough: dict[TextPart, Rough] = attrs.field(factory=dict)
    _flows: WeakKeyDictionary[TextPart, Flow] = attrs.field(factory=WeakKeyDictionary)
    _whole: OrderedDict[TextPart, tuple[Rough, list[Segments]]] = attrs.field(factory=OrderedDict)

    def keep(self, part: TextPart, what: Rough, lines: list[Segments]) -> None:
        """Take the Markdown of a long text; it shows with the next drawing of its entry."""
        self._whole[part] = what, [[_MARGIN, *line] for line in lines]
        if len(self._whole) > KEPT:
            self._whole.popitem(last=False)

    def draw(self, entry: Entry, look: EntryLook) -> Drawing:
        """Return the lines of an entry; the last one is blank."""
        if isinstance(entry, AnswerEntry):
            return self._answer(entry, look)
        lines = (
            self._message(entry, look) if isinstance(entry, MessageEntry) else _line(entry.line, look.width)
        )
        return Drawing([*lines, []], {})

    def estimate(self, entry: Entry, look: EntryLook) -> int:
        """Return about how many lines an entry takes, without drawing it."""
        if isinstance(entry, AnswerEntry):
            lines = sum(
                1 if isinstance(part, ToolEntry | LineEntry) else _count(part.text, look.width) + 1
                for part in entry.parts
            )
            return max(1, lines) + 1
        return _count(entry.text, look.width) + 1 if isinstance(entry, MessageEntry) else 2

    def _message(self, entry: MessageEntry, look: EntryLook) -> list[Segments]:
        author = self.name_of(entry.device_id)
        about = [] if author == "you" else [author]
        if entry.state == "waiting":
            about.append(self.waits())
        elif entry.state in _STATES:
            about.append(_STATES[entry.state])
        if entry.not_before and entry.state in {"queued", "waiting"}:
            about.append(f"for {clock_time(entry.not_before)}")
        bar = Segment("▌ ", BLUE)
        lines = paragraph(entry.text, look.width, Style(bold=True), first=bar, rest=bar)
        if not look.unfolded and len(lines) > FOLDED_MESSAGE + 1:
            left = len(lines) - FOLDED_MESSAGE
            lines = [*lines[:FOLDED_MESSAGE], [bar, Segment(f"{left} more lines · ctrl+o shows all", DIM)]]
        if entry.files:
            lines.append([bar, Segment(flat(" ".join(f"[{name}]" for name in entry.files)), DIM)])
        head = [[Segment("▌ ", BLUE), Segment(flat(" · ".join(about)), DIM)]] if about else []
        return [*head, *lines]

    def _answer(self, entry: AnswerEntry, look: EntryLook) -> Drawing:
        lines: list[Segments] = []
        tools: dict[int, str] = {}
        if entry.undone:
            lines.append([Segment("no longer part of the conversation", DIM)])
        if entry.cause == "background":
            lines.append([Segment("The agent continued by itself.", DIM)])
        before: object = None
        for part in entry.parts:
            if lines and not (
                isinstance(part, ToolEntry | LineEntry) and isinstance(before, ToolEntry | LineEntry)
            ):
                lines.append([])
            if isinstance(part, ToolEntry):
                tools[len(lines)] = part.tool_id
                unfolded = look.unfolded or part.tool_id in self.open_tools
                lines += tool_lines(part, look.width, self.workspace(), unfolded=unfolded)
            elif isinstance(part, LineEntry):
                lines += _line(part, look.width)
            else:
                lines += self._text(part, entry, look)
            before = part
        lines += _ending(entry, look.width, self.name_of)
        return Drawing([*lines, []] if lines else [], tools)

    def _text(self, part: TextPart, entry: AnswerEntry, look: EntryLook) -> list[Segments]:
        if part.kind == "thinking" and not look.unfolded:
            count = len(part.text.split())
            gist = part.text.rstrip().rpartition("\n")[2].strip(" *#") if entry.status == "running" else ""
            shown = flat(gist)[: max(10, look.width - 30)]
            return [
                [
                    Segment("✻ ", YELLOW),
                    Segment(f"Thinking · {count} words", ITALIC),
                    Segment(f"  {shown}", ITALIC),
                ]
            ]
        if part.kind == "thinking":
            return paragraph(part.text, look.width, ITALIC, first=Segment("✻ ", YELLOW))
        return self._markdown(part, entry, look)

    def _markdown(self, part: TextPart, entry: AnswerEntry, look: EntryLook) -> list[Segments]:
        width = max(1, look.width - MARGIN)
        made = Rough(entry.key, part.text, width, look.code_style)
        known = self._whole.get(part)
        if known is not None and known[0] == made:
            return known[1]
        flow = self._flows.pop(part, None) or Flow(margin=[_MARGIN])
        if entry.status == "running":
            self._flows[part] = flow  # of an answer that has ended only the layout keeps the lines
        ended = entry.status != "running" or part is not entry.parts[-1]
        lines = flow.lines(part.text, width, cuts=part.cuts, ended=ended, style=look.code_style)
        if ended and flow.is_rough:
            self.rough[part] = made
        return lines


def _line(line: LineEntry, width: int) -> list[Segments]:
    if line.tone == "unread":
        side = "─" * max(2, (width - len(line.text) - 2) // 2)
        return [[Segment(f"{side} {line.text} {side}"[:width], RED)]]
    style = YELLOW if line.tone == "deny" else DIM
    return paragraph(line.text, width, style, first=Segment("· ", DIM))


def _ending(entry: AnswerEntry, width: int, name_of: Callable[[str | None], str]) -> list[Segments]:
    lines: list[Segments] = []
    if entry.passing:
        lines += paragraph(entry.passing, width, YELLOW, first=Segment("· "))
    if entry.status == "error":
        lines += paragraph(entry.content or "The turn failed.", width, RED, first=Segment("✗ ", RED))
    elif entry.status == "interrupted":
        by = f" by {name_of(entry.by)}" if entry.by else ""
        lines.append([Segment(flat(f"· Stopped{by}"), YELLOW)])
    about = [_took(entry.at, entry.ended_at)]
    if entry.changed is not None:
        files, added, removed = entry.changed
        about.append(f"{files} {'file' if files == 1 else 'files'} +{added} −{removed}")
    shown = " · ".join(one for one in about if one)
    return [*lines, [Segment(f"  {shown}", DIM)]] if shown else lines


def _took(began: str, ended: str) -> str:
    """Return how long a turn took, if that is worth a word."""
    try:
        seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    except ValueError:
        return ""
    return lasted(int(seconds * 1000)) if seconds >= 5 else ""


def _count(text: str, width: int) -> int:
    if len(text) < width:
        return 1 + text.count("\n")
    return sum(1 + len(line) // max(1, width) for line in text.split("\n"))
