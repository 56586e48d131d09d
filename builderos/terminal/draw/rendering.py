"""Rich draws Markdown, code and diffs for us; loaded when the first of them is drawn."""

from __future__ import annotations

import re
import threading
from io import StringIO
from typing import Final

from rich.console import Console, RenderableType
from rich.segment import Segment
from rich.theme import Theme

from builderos.terminal.draw.lines import Segments, clean, paragraph

__all__ = ["code_lines", "lines_of", "markdown_lines"]

_LOOK: Final = Theme(
    {
        "markdown.code": "bold cyan",
        "markdown.code_block": "cyan",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.link": "underline",
        "markdown.link_url": "underline",
        "markdown.block_quote": "italic",
        "markdown.hr": "dim",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.table.header": "bold",
        "markdown.table.border": "dim",
    }
)


_PROSE: Final = re.compile(r"(?!\d+[.)]|[-+#=])[^\s`*_~\[\]<>&|\\](?:[^\s`*_~\[\]<>&|\\]| (?! ))*")
"""One line that is the same as Markdown and as plain text."""

_own = threading.local()


def _console() -> Console:
    """Return this thread's own: a thread that draws something long holds up no other one."""
    if not hasattr(_own, "console"):
        _own.console = _made()
    return _own.console  # type: ignore[no-any-return]


def _made() -> Console:
    return Console(
        file=StringIO(),
        width=80,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        theme=_LOOK,
    )


def markdown_lines(text: str, width: int, code_style: str) -> list[Segments]:
    """Return Markdown as lines, without blank lines before and after."""
    prose = text.lstrip("\n").rstrip(" \n")
    if _PROSE.fullmatch(prose):
        return paragraph(prose, width)
    from builderos.terminal.draw.markdown import Page  # takes time to load

    return _trimmed(lines_of(Page(text, code_theme=code_style, hyperlinks=False), width))


def code_lines(text: str, language: str, width: int, code_style: str) -> list[Segments]:
    """Return code as coloured lines."""
    from rich.syntax import Syntax

    made = Syntax(
        clean(text), language or "text", theme=code_style, background_color="default", word_wrap=True
    )
    return lines_of(made, width)


def lines_of(what: RenderableType, width: int) -> list[Segments]:
    """Return lines of something that Rich can draw; each segment passes the gate of `clean`."""
    console = _console()
    options = console.options.update(width=max(1, width), height=None)
    lines = console.render_lines(what, options, pad=False)
    return [[_gated(one) for one in line if not one.control] for line in lines]


def _gated(one: Segment) -> Segment:
    style = one.style.update_link(None) if one.style is not None and one.style.link else one.style
    return Segment(clean(one.text).replace("\n", " "), style)


def _trimmed(lines: list[Segments]) -> list[Segments]:
    first, last = 0, len(lines)
    while first < last and _is_blank(lines[first]):
        first += 1
    while last > first and _is_blank(lines[last - 1]):
        last -= 1
    return lines[first:last]


def _is_blank(line: Segments) -> bool:
    return not any(one.text.strip() for one in line)
