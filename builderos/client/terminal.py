"""Text that others wrote, made safe for a terminal.

A terminal obeys control characters: an answer could set the title, move the cursor over what it said
before, or put text on the clipboard. So every one of them is shown as a picture, never sent. Pure, and free
of state: a sequence that is cut into two pieces is as harmless as a whole one.
"""

from __future__ import annotations

__all__ = ["one_line", "sanitise"]

REPLACEMENT = "\ufffd"

_TABLE: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    ord("\n"): "\n",
    ord("\t"): "\t",
    ord("\r"): "",
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), REPLACEMENT),
    # marks that turn the reading direction: text could look like something else than it is
    **dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], REPLACEMENT),
    0x2028: "\n",
    0x2029: "\n",
    # lone surrogates cannot be written at all
    **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT),
}


def sanitise(text: str) -> str:
    """Return `text` with nothing in it that a terminal would obey but new lines and tabs."""
    return text.translate(_TABLE)


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` as one safe line of at most `limit` code points."""
    safe = " ".join(sanitise(text[: limit * 4]).split())
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"
