"""Wrap the lines of Markdown pages: `python -m tests.support.wrap_markdown FILE…`; `make format` runs it on all pages.

Paragraphs and list items are filled up to 100 characters. Code, tables, headings and HTML stay as they are, and a code
span stays on one line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["WIDTH", "wrap"]

WIDTH = 100
_ITEM = re.compile(r"\s*(?:[-*]|\d+\.)\s+")
_WORD = re.compile(r"(?:`[^`]*`|\S)+(?: (?:[-+*]|#+|\d+[.)])(?= ))*")
"""A code span with blanks in it is one word. A sign that would begin a list stays behind its word."""

_FIXED = ("|", "#", "<", "---")


def wrap(text: str) -> str:
    """Return the page with filled paragraphs. To wrap twice changes nothing."""
    lines: list[str] = []
    open_block: tuple[str, list[str]] | None = None  # the first line's indent or bullet, and the texts
    in_code = False
    for line in [*text.rstrip("\n").split("\n"), ""]:
        stripped = line.strip()
        is_fence = stripped.startswith("```")
        bullet = _ITEM.match(line)
        ends_block = in_code or is_fence or not stripped or bullet or stripped.startswith(_FIXED)
        if ends_block and open_block is not None:
            lines += _fill(*open_block)
            open_block = None
        if bullet and not in_code:
            open_block = (bullet.group(), [line[bullet.end() :].strip()])
        elif in_code or is_fence or not stripped or stripped.startswith(_FIXED):
            lines.append(line if in_code or stripped else "")
            in_code ^= is_fence
        elif open_block is None:
            open_block = (line[: len(line) - len(line.lstrip())], [stripped])
        else:
            open_block[1].append(stripped)
    return "\n".join(lines).rstrip("\n") + "\n"


def _fill(start: str, texts: list[str]) -> list[str]:
    lines = [start]
    for word in _WORD.findall(" ".join(" ".join(texts).split())):
        is_first = lines[-1] in (start, " " * len(start))
        if not is_first and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(" " * len(start))
            is_first = True
        lines[-1] += word if is_first else f" {word}"
    return lines


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        before = page.read_text(encoding="utf-8")
        if (after := wrap(before)) != before:
            page.write_text(after, encoding="utf-8")
