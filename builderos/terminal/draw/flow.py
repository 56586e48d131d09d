"""Markdown that grows. What stands is drawn once; only the block that is still being written is drawn again.

What would hold up the screen is drawn as plain text, which can be continued at its last line. So the cost of a piece does
not grow with the length of the answer. Once such a text has ended, `whole` gives its Markdown, for a thread.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import attrs
from rich.segment import Segment

from builderos.terminal.draw.lines import Segments, clean, spans
from builderos.terminal.draw.rendering import markdown_lines

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["Flow", "whole"]

LONG: Final = 3_000
"""Characters of an open block that are still drawn as Markdown, again with each piece."""

LONG_ENDED: Final = 6_000
"""Characters that are drawn as Markdown at once, since they are drawn only once: 10 to 40 ms."""

PARSED: Final = 20_000
"""Characters in which the end of a block is looked for."""

HUGE: Final = 500_000
"""Characters that stay plain for good."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # takes time to load

    return MarkdownIt("commonmark").enable("table").enable("strikethrough")


def whole(text: str, width: int, style: str) -> list[Segments]:
    """Return the lines of a text that has ended, all of it as Markdown. May take seconds; safe in a thread."""
    return Flow(is_patient=True).lines(text, width, cuts=0, ended=True, style=style)


@attrs.define(eq=False)
class _Growing:
    """Plain text that is wrapped as it comes. `taken`: characters, as they came."""

    width: int
    margin: Segments
    taken: int = 0
    text: str = ""
    lines: list[Segments] = attrs.field(factory=list)
    _last: int = 0

    def grow(self, more: str) -> None:
        self.taken += len(more)
        self.text += clean(more)
        if self.lines:
            self.lines.pop()
        for start, end in spans(self.text, self.width, self._last):
            self.lines.append([*self.margin, Segment(self.text[start:end])])
            self._last = start


@attrs.define(eq=False)
class Flow:
    """The drawing of one block of text.

    Attributes:
        is_patient: only what is huge stays plain.
        margin: what stands before each line.
    """

    is_patient: bool = False
    margin: Segments = attrs.field(factory=list)
    _width: int = 0
    _cuts: int = 0
    _style: str = ""
    _frozen: list[Segments] = attrs.field(factory=list)
    _has_plain: bool = False
    _upto: int = 0
    _tried: int = 0
    _growing: _Growing | None = None
    _open: list[Segments] = attrs.field(factory=list)
    _seen: tuple[int, bool] = (-1, False)

    @property
    def is_rough(self) -> bool:
        """Whether something is drawn as plain text although it may be Markdown."""
        return not self.is_patient and (self._has_plain or self._growing is not None)

    def lines(self, text: str, width: int, *, cuts: int, ended: bool, style: str) -> list[Segments]:
        """Return the lines of `text`, which begins with what it was before unless `cuts` grew."""
        if (width, cuts, style) != (self._width, self._cuts, self._style) or len(text) < self._seen[0]:
            self.__init__(self.is_patient, self.margin, width, cuts, style)  # type: ignore[misc]
        if self._seen != (len(text), ended):
            self._seen = (len(text), ended)
            self._take(text, ended)
        open_ = self._open if self._growing is None else self._growing.lines
        return _joined(self._frozen, open_)

    def _take(self, text: str, ended: bool) -> None:
        if self._may_freeze(text, ended):
            self._freeze(text)
        rest = len(text) - self._upto
        most = HUGE if self.is_patient else LONG_ENDED if ended else LONG
        if rest <= most:
            self._growing = None
            self._open = self._markdown(text[self._upto :])
            return
        if self._growing is None:
            self._growing = _Growing(self._width, self.margin)
        self._growing.grow(text[self._upto + self._growing.taken :])

    def _may_freeze(self, text: str, ended: bool) -> bool:
        """Return whether it is worth looking for the end of a block. In a long one that is done ever more rarely."""
        rest = len(text) - self._upto
        if ended or text.find("\n", self._upto) < 0:
            return False
        if rest <= LONG:
            return True
        if rest > PARSED or 10 * rest < 11 * self._tried:
            return False
        return text.find("\n\n", self._upto + max(0, self._tried - 1)) >= 0

    def _freeze(self, text: str) -> None:
        """Draw for good what stands before the last block."""
        rest = text[self._upto :]
        begins = [
            token.map[0]
            for token in _parser().parse(rest)
            if token.level == 0 and token.map and token.nesting >= 0
        ]
        self._tried = len(rest)
        if len(begins) < 2:
            return
        lines = rest.split("\n")
        done = "\n".join(lines[: begins[-1]]) + "\n"
        self._frozen = _joined(self._frozen, self._drawn(done))
        self._upto += len(done)
        self._tried = 0
        self._growing = None

    def _drawn(self, done: str) -> list[Segments]:
        if len(done) <= LONG_ENDED:
            return self._markdown(done)
        self._has_plain = True
        plain = _Growing(self._width, self.margin)
        plain.grow(done.rstrip("\n"))
        return plain.lines

    def _markdown(self, text: str) -> list[Segments]:
        return [[*self.margin, *line] for line in markdown_lines(clean(text), self._width, self._style)]


def _joined(above: list[Segments], below: list[Segments]) -> list[Segments]:
    return [*above, [Segment("")], *below] if above and below else above or below
