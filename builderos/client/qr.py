"""A QR code that a terminal shows, be its background dark or light. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import segno

__all__ = ["terminal_code"]

BORDER: Final = 4
"""Modules of white around it, which the standard asks for."""

_BEGIN: Final = "\x1b[38;5;16;48;5;231m"
"""Black on white, by number: the names of colours mean what the terminal's theme says."""

_END: Final = "\x1b[0m"

_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""Two modules, one above the other, as one character."""


def terminal_code(text: str) -> str:
    """Return the lines of a QR code for `text`, two rows of it in each."""
    matrix = segno.make(text, error="m", micro=False).matrix
    side = len(matrix) + 2 * BORDER
    blank = [False] * side
    edge = [False] * BORDER
    rows = [*[blank] * BORDER, *([*edge, *map(bool, row), *edge] for row in matrix), *[blank] * BORDER]
    if len(rows) % 2:
        rows.append(blank)
    return "".join(f"{_BEGIN}{line}{_END}\n" for line in _lines(rows))


def _lines(rows: Sequence[Sequence[bool]]) -> Iterator[str]:
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        yield "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
