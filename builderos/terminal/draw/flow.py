"""Markdown that grows. What stands is drawn once; only the block that is still being written is drawn again.

A long block without an end is drawn as plain text, which can be continued at its last line. So the cost of a piece does
not grow with the length of the answer.
"""

from __future__ import annotations

from typing import Final

import attrs
from markdown_it import MarkdownIt
from rich.segment import Segment

from builderos.terminal.draw.lines import Segments, clean, spans
from builderos.terminal.draw.rendering import markdown_lines

__all__ = ["Flow"]

LONG: Final = 3_000
"""Characters of an open block that are still drawn as Markdown."""

HUGE: Final = 300_000
"""Characters of a block that stays plain for good: to lay it out would hold up the screen."""

_parser = MarkdownIt("commonmark").enable("table").enable("strikethrough")


@attrs.define(eq=False)
class _Growing:
    """Plain text that is wrapped as it comes."""

    width: int
    text: str = ""
    lines: list[Segments] = attrs.field(factory=list)
    _last: int = 0

    def grow(self, more: str) -> None:
        self.text += more
        if self.lines:
            self.lines.pop()
        for start, end in spans(self.text, self.width, self._last):
            self.lines.append([Segment(self.text[start:end])])
            self._last = start


@attrs.define(eq=False)
class Flow:
    """The drawing of one block of text."""

    _width: int = 0
    _cuts: int = 0
    _style: str = ""
    _frozen: list[Segments] = attrs.field(factory=list)
    _upto: int = 0
    _growing: _Growing | None = None
    _open: list[Segments] = attrs.field(factory=list)
    _seen: tuple[int, bool] = (-1, False)

    def lines(self, text: str, width: int, *, cuts: int, ended: bool, style: str) -> list[Segments]:
        """Return the lines of `text`, which begins with what it was before unless `cuts` grew."""
        if (width, cuts, style) != (self._width, self._cuts, self._style) or len(text) < self._seen[0]:
            self.__init__(width, cuts, style)  # type: ignore[misc]
        if self._seen != (len(text), ended):
            self._seen = (len(text), ended)
            self._take(text, ended)
        open_ = self._open if self._growing is None else self._growing.lines
        return _joined(self._frozen, open_)

    def _take(self, text: str, ended: bool) -> None:
        growing = self._growing
        if growing is None or "\n\n" in text[self._upto + len(growing.text) - 1 :]:
            self._freeze(text)
        safe = clean(text[self._upto :])
        if len(safe) <= (HUGE if ended else LONG):
            self._growing = None
            self._open = markdown_lines(safe, self._width, self._style)
            return
        if self._growing is None or not safe.startswith(self._growing.text):
            self._growing = _Growing(self._width)
        self._growing.grow(safe[len(self._growing.text) :])

    def _freeze(self, text: str) -> None:
        """Draw for good what stands before the last block."""
        rest = text[self._upto :]
        begins = [
            token.map[0]
            for token in _parser.parse(rest)
            if token.level == 0 and token.map and token.nesting >= 0
        ]
        if len(begins) < 2:
            return
        lines = rest.split("\n")
        done = "\n".join(lines[: begins[-1]]) + "\n"
        self._frozen = _joined(self._frozen, markdown_lines(clean(done), self._width, self._style))
        self._upto += len(done)
        self._growing = None


def _joined(above: list[Segments], below: list[Segments]) -> list[Segments]:
    return [*above, [Segment("")], *below] if above and below else above or below
