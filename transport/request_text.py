"""A permission request as text for a person: all of it, and nothing hidden in it. Pure.

A person must see exactly what they allow. So nothing is left out silently: a text that is too long is reported as cut,
blanks that would push text off the screen are counted, and characters that are invisible, or that turn the reading
direction, are shown by their number.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

__all__ = ["TRUST", "lists_all", "shown_input", "trust_lines", "visible"]

TRUST: Final = "trust"
"""The kind of a request to trust a folder's settings."""

LONG_BLANK: Final = 9
"""Blanks in a row that are counted instead of shown; an indented line of code has fewer, or begins a line."""

_BLANKS: Final = re.compile(rf"(?<=[^\n \t])[ \t]{{{LONG_BLANK},}}|[ \t]{{80,}}")
_EMPTY_LINES: Final = re.compile(r"\n(?:[ \t]*\n){4,}")
_ONE_LINE: Final = 160

_BLANK_LETTERS: Final = frozenset(
    {
        0x034F,
        0x115F,
        0x1160,
        0x17B4,
        0x17B5,
        0x2800,
        0x3164,
        0xFFA0,
        *range(0x180B, 0x1810),
        *range(0xE0100, 0xE01F0),
    }
)
"""Characters that Unicode counts as letters or marks, but that show nothing."""


def visible(text: str) -> str:
    """Return `text` with every invisible character named, control characters too, except new lines."""
    named = text if text.isascii() and text.isprintable() else "".join(map(_named, text))
    counted = _EMPTY_LINES.sub(lambda found: f"\n⟦{found[0].count(chr(10)) - 1} empty lines⟧\n", named)
    return _BLANKS.sub(lambda found: f"⟦{len(found[0])} blanks⟧", counted)


def shown_input(value: Any, limit: int) -> tuple[str, bool]:
    """Return a tool's input in readable form, and whether it is complete.

    Args:
        value: the input of a request.
        limit: code points; a longer text is cut there.
    """
    is_whole = not (isinstance(value, dict) and "clipped" in value)
    raw = _readable(value)
    text = visible(raw[: 2 * limit])
    if len(raw) <= 2 * limit and len(text) <= limit:
        return text, is_whole
    return text[:limit] + " …", False


def trust_lines(asked: Any) -> list[str]:
    """Return what a person must know before they trust a folder: the folder, and a line for all that would run."""
    fields = asked if isinstance(asked, dict) else {}
    lines = [
        f"The folder {fields.get('folder') or 'of this session'} has settings that would run or apply by themselves:"
    ]
    runs = fields.get("runs")
    for run in runs if isinstance(runs, list) else ():
        if isinstance(run, dict):
            command = f": {run['command']}" if run.get("command") else ""
            lines.append(f"- {run.get('kind')} {run.get('name')} ({run.get('from')}){command}")
    if fields.get("more"):
        lines.append(f"- and {fields['more']} more, which are not listed")
    return lines


def lists_all(asked: Any) -> bool:
    """Return whether a request to trust a folder lists everything that would run."""
    return isinstance(asked, dict) and isinstance(asked.get("runs"), list) and not asked.get("more")


def _readable(value: Any) -> str:
    """Return a value as text. A longer object gets a line for each field, and texts keep their own lines."""
    if isinstance(value, str):
        return value
    text = orjson.dumps(value).decode()
    if len(text) <= _ONE_LINE or not isinstance(value, dict):
        return text
    fields = (
        f"{name}: {field if isinstance(field, str) else orjson.dumps(field).decode()}"
        for name, field in value.items()
    )
    return "\n".join(fields)


def _named(char: str) -> str:
    # Not printable are controls, formats, surrogates, unassigned characters, and all blanks but the space.
    if char in "\n\t" or (char.isprintable() and ord(char) not in _BLANK_LETTERS):
        return char
    return f"\\u{{{ord(char):x}}}"
