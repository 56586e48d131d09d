"""Lines and the bar beside them as Textual's strips, without its own way to them.

That way makes nine strips of each line of a widget, the bar's too, whenever one of them changed: most of what a picture of
a growing answer takes. Here a line has one strip as long as it stands, and the cells of the bar are of a few kinds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from rich.segment import Segment
from textual.geometry import Region
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from builderos.terminal.draw.lines import Segments

__all__ = ["LineStrips", "Rail"]

KEPT: Final = 200
"""Strips that are kept: two pictures of a large screen. Most of a picture stood in the one before, maybe elsewhere.
With more, each search for garbage takes longer than a key may."""

_SIDE: Final = Segment(" ")


class LineStrips:
    """The strips of lines, on the terminal's own colours."""

    def __init__(self) -> None:
        self._width = 0
        self._strips: dict[int, tuple[Segments, Strip]] = {}

    def strip(self, line: Segments, width: int) -> Strip:
        """Return a line behind a blank. The same list has the same strip: lines are not changed, but made again."""
        if width != self._width or len(self._strips) > KEPT:
            self._strips.clear()
            self._width = width
        known = self._strips.get(id(line))  # which lives, since it is kept with its strip
        if known is not None:
            return known[1]
        made = _made(line, width)
        self._strips[id(line)] = line, made
        return made


def _made(line: Segments, width: int) -> Strip:
    taken = sum(one.cell_length for one in line)
    parts = line if taken <= width else Segment.adjust_line_length(line, width)
    after = " " * max(0, width - taken)
    if any(one.style for one in parts):
        return Strip([_SIDE, *parts, Segment(after)], width + 1)
    return Strip([Segment(f" {''.join(one.text for one in parts)}{after}")], width + 1)


class Rail(ScrollBar):
    """The bar that shows where a window stands."""

    def render_lines(self, crop: Region) -> list[Strip]:
        bar: Any = self.render()
        made = bar.render_bar(
            size=self.size.height,
            virtual_size=bar.virtual_size,
            window_size=bar.window_size,
            position=bar.position,
            back_color=bar.style.bgcolor,
            bar_color=bar.style.color,
        )
        strips = [_cell(one) for one in made.segments[crop.y : crop.bottom]]
        for change in self.get_line_filters():
            strips = [strip.apply_filter(change, self.background_colors[1]) for strip in strips]
        return strips


@lru_cache(maxsize=64)
def _cell(segment: Segment) -> Strip:
    return Strip([segment], 1)
