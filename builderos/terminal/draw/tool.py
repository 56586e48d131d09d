"""A tool call as lines: one if it is folded, with its input, output and diff if it is not."""

from __future__ import annotations

import re
from typing import Final

from rich.segment import Segment
from rich.style import Style

from builderos.terminal.draw.diff import diff_lines
from builderos.terminal.draw.lines import Segments, flat, paragraph
from builderos.terminal.model.entries import ToolEntry
from builderos.terminal.model.tools import describe, input_text

__all__ = ["lasted", "tool_lines"]

BOLD: Final = Style(bold=True)
DIM: Final = Style(dim=True)
GREEN: Final = Style(color="green")
RED: Final = Style(color="red")
YELLOW: Final = Style(color="yellow")

UNFOLDED: Final = 400
"""Lines of an input or output that are drawn; the file itself is behind `files` of the palette."""

FOLDED_DIFF: Final = 12
"""Lines of a diff that a folded call shows."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;:]*[mK]")


def tool_lines(
    tool: ToolEntry, width: int, workspace: str, *, unfolded: bool, depth: int = 0
) -> list[Segments]:
    """Return the lines of a call, with the calls of the agent that it started."""
    pad = "  " * depth
    head = _head(tool, width - len(pad), workspace)
    lines = [[Segment(pad), *head]]
    below = Segment(f"{pad}  ")
    if tool.decision:
        lines += paragraph(tool.decision, width, DIM, first=below)
    if unfolded:
        lines += _inside(tool, width - below.cell_length, below)
    elif tool.diff:
        lines += [
            [below, *line] for line in diff_lines(tool.diff, width - below.cell_length, most=FOLDED_DIFF)
        ]
    elif last := _printed(tool).rstrip().rpartition("\n")[2]:
        lines.append([below, Segment(flat(last)[: max(8, width - below.cell_length)], DIM)])
    for inner in tool.inner:
        lines += tool_lines(inner, width, workspace, unfolded=unfolded, depth=depth + 1)
    return lines


def lasted(milliseconds: int) -> str:
    """Return a duration in words."""
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _head(tool: ToolEntry, width: int, workspace: str) -> Segments:
    doing = describe(tool.name, tool.input, workspace)
    style, words = _state(tool)
    room = max(8, width - len(doing.verb) - len(words) - 6)
    gist = flat(doing.gist)
    gist = gist if len(gist) <= room else gist[: room - 1] + "…"
    return [
        Segment("● ", style),
        Segment(flat(doing.verb), BOLD),
        Segment(f" {gist}" if gist else ""),
        Segment(f"  {words}", DIM),
    ]


def _state(tool: ToolEntry) -> tuple[Style, str]:
    if tool.output is None:
        return YELLOW, "running"
    took = "" if tool.duration_ms is None else lasted(tool.duration_ms)
    if tool.is_error:
        return RED, f"failed {took}".rstrip()
    count = tool.output.strip().count("\n") + 1 if tool.output.strip() else 0
    lines = f"{count} {'line' if count == 1 else 'lines'}" if count else ""
    return GREEN, " · ".join(one for one in (took, lines) if one)


def _inside(tool: ToolEntry, width: int, below: Segment) -> list[Segments]:
    lines = _limited(input_text(tool.input), width, Style(color="cyan"))
    if output := _printed(tool) or _COLOURS.sub("", tool.output or ""):
        lines += [[Segment("─" * min(width, 20), DIM)], *_limited(output, width, Style.null())]
    if tool.diff:
        lines += diff_lines(tool.diff, width)
    return [[below, *line] for line in lines]


def _printed(tool: ToolEntry) -> str:
    """Return the newest lines that a call has printed, while it runs."""
    text = _COLOURS.sub("", tool.printed) if tool.output is None else ""
    return "\n".join(text.replace("\r", "\n").strip("\n").split("\n")[-UNFOLDED:])


def _limited(text: str, width: int, style: Style) -> list[Segments]:
    text = text.strip("\n")
    lines = text.split("\n")
    shown = paragraph("\n".join(lines[:UNFOLDED])[: UNFOLDED * 200], width, style) if text else []
    left = len(lines) - UNFOLDED
    return [*shown, [Segment(f"{left} more lines", DIM)]] if left > 0 else shown
