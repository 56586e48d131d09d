"""Lines of a terminal, and the one gate for text that others wrote.

A line is a list of segments of Rich. Whatever becomes a segment here has passed `sanitise`: also what a parser made of
it, since Markdown may spell a control character as an entity. Nothing is ever read as markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from builderos.client.terminal import sanitise

__all__ = ["PLAIN", "Segments", "clean", "flat", "paragraph", "segment", "spans"]

Segments = list[Segment]

PLAIN: Final = Style.null()

TAB: Final = "    "


def clean(text: str) -> str:
    """Return text without anything that a terminal obeys; tabs become blanks."""
    return text if text.isprintable() else sanitise(text).replace("\t", TAB)


def flat(text: str) -> str:
    """Return text as one such line."""
    return " ".join(clean(text).split())


def segment(text: str, style: Style = PLAIN) -> Segment:
    """Return a segment of one line."""
    return Segment(clean(text).replace("\n", " "), style)


def paragraph(
    text: str, width: int, style: Style = PLAIN, *, first: Segment | None = None, rest: Segment | None = None
) -> list[Segments]:
    """Return text wrapped to lines of `width` cells.

    Args:
        text: what others may have written.
        width: of a whole line, with what stands before it.
        style: of the text.
        first: what stands before the first line.
        rest: what stands before the others.
    """
    first = first or Segment("")
    rest = rest or Segment(" " * first.cell_length)
    room = max(1, width - max(first.cell_length, rest.cell_length))
    safe = clean(text)
    lines = [safe[start:end] for start, end in spans(safe, room)]
    return [[rest if number else first, Segment(line, style)] for number, line in enumerate(lines or [""])]


def spans(text: str, width: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield where the lines of a text begin and end, from `start` on, wrapped between words if possible."""
    ends = len(text)
    while start <= ends:
        stop = text.find("\n", start)
        stop = ends if stop < 0 else stop
        yield from _wrapped(text, start, stop, width)
        start = stop + 1


def _wrapped(text: str, start: int, stop: int, width: int) -> Iterable[tuple[int, int]]:
    narrow = text.isascii()
    if start == stop:
        yield start, stop
    while start < stop:
        end = min(stop, start + width) if narrow else _fitting(text, start, stop, width)
        if end < stop:
            blank = text.rfind(" ", start, end + 1)
            if blank > start:
                yield start, blank
                start = blank + 1
                continue
        yield start, end
        start = end


def _fitting(text: str, start: int, stop: int, width: int) -> int:
    """Return where a line of that many cells ends; it has one character at least."""
    end = min(stop, start + width)
    while end > start + 1 and cell_len(text[start:end]) > width:
        end -= max(1, (cell_len(text[start:end]) - width) // 2)
    while end < stop and cell_len(text[start : end + 1]) <= width:
        end += 1
    return end
