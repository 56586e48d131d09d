"""Makes foreign text safe for a terminal, and draws QR codes.

A terminal obeys control characters: an answer could set the title, overwrite earlier text, or put text on the
clipboard. So each of them is replaced by a visible picture. Pure and stateless, except for the two functions that
write: a sequence that is cut in two is as harmless as a whole one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Final

__all__ = [
    "OutputError",
    "code_rows",
    "one_line",
    "sanitise",
    "table",
    "terminal_code",
    "write_json",
    "write_text",
]


class OutputError(Exception):
    """What a command shows cannot be written: the disk is full, say, or the output was closed before it began."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(f"the output cannot be written: {reason or 'it is closed'}")


REPLACEMENT = "\ufffd"


@cache
def _table() -> dict[int, str]:
    """Return the picture of each such character. Made at the first text: it takes 100 KiB, and JSON's twice as much."""
    return {
        **{code: chr(0x2400 + code) for code in range(0x20)},
        ord("\n"): "\n",
        ord("\t"): "\t",
        ord("\r"): "",
        0x7F: "\u2421",
        **dict.fromkeys(range(0x80, 0xA0), REPLACEMENT),
        # marks that turn the reading direction could disguise text
        **dict.fromkeys(
            [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], REPLACEMENT
        ),
        0x2028: "\n",
        0x2029: "\n",
        # lone surrogates cannot be written at all
        **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT),
    }


@cache
def _json_table() -> dict[int, str]:
    """Return the same characters as JSON escapes in a string; outside of strings JSON has none of them."""
    return {code: f"\\u{code:04x}" for code in _table() if chr(code) not in "\n\t"}


def sanitise(text: str) -> str:
    """Return `text` without anything that a terminal obeys, except new lines and tabs."""
    return text.translate(_table())


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` as one safe line of at most `limit` code points."""
    safe = " ".join(sanitise(text[: limit * 4]).split())
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as lines of aligned columns, the headings first. None is an empty cell."""
    cells = [["" if cell is None else one_line(str(cell), 128) for cell in row] for row in (headings, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def write_text(text: str) -> None:
    """Write foreign text to stdout: sanitised to a terminal, unchanged to a file or a pipe."""
    sys.stdout.write(sanitise(text) if sys.stdout.isatty() else text)


def write_json(text: str) -> None:
    """Write JSON to stdout: to a terminal with equivalent escapes, unchanged to a file or a pipe."""
    sys.stdout.write(text.translate(_json_table()) if sys.stdout.isatty() else text)


BORDER: Final = 4
"""White modules around the code, as the standard requires."""

_BEGIN: Final = "\x1b[38;5;16;48;5;231m"
"""Black on white, by number: a terminal's theme may change the named colours."""

_END: Final = "\x1b[0m"

_HALVES: Final = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
"""Two modules, one above the other, as one character."""


def terminal_code(text: str) -> str:
    """Return the lines of a QR code for `text`, black on white."""
    return "".join(f"{_BEGIN}{line}{_END}\n" for line in code_rows(text))


def code_rows(text: str) -> list[str]:
    """Return the lines of a QR code for `text`, two rows of it in each, to be drawn black on white."""
    import segno  # takes time to load, and only pairing needs it

    matrix = segno.make(text, error="m", micro=False).matrix
    side = len(matrix) + 2 * BORDER
    blank = [False] * side
    edge = [False] * BORDER
    rows = [*[blank] * BORDER, *([*edge, *map(bool, row), *edge] for row in matrix), *[blank] * BORDER]
    if len(rows) % 2:
        rows.append(blank)
    return list(_lines(rows))


def _lines(rows: Sequence[Sequence[bool]]) -> Iterator[str]:
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        yield "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
