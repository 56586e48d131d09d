"""Diffs as coloured lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.segment import Segment
from rich.style import Style

from builderos.terminal.draw.lines import Segments, clean, flat, paragraph

__all__ = ["changes_lines", "diff_lines"]

BOLD: Final = Style(bold=True)
DIM: Final = Style(dim=True)
_MARKS: Final = {"+": Style(color="green"), "-": Style(color="red"), "@": Style(color="cyan", dim=True)}

MAX_LINES: Final = 4_000
"""Lines of one file's patch that are drawn."""

_SIGNS: Final = {"added": "A", "modified": "M", "deleted": "D", "renamed": "R", "mode": "m"}


def diff_lines(files: Sequence[Mapping[str, Any]], width: int, *, most: int = MAX_LINES) -> list[Segments]:
    """Return the patches of files, each under its name."""
    lines: list[Segments] = []
    for file in files:
        lines += [[Segment(_name(file), BOLD)], *_patch(file, width, most)]
    return lines


def changes_lines(answer: Mapping[str, Any], width: int) -> list[Segments]:
    """Return the answer of `/changes`: a line for each file, then the patches."""
    files = [one for one in answer.get("files") or () if isinstance(one, dict)]
    if not files:
        return [[Segment("Nothing changed.")]]
    lines = [[Segment(f"{_SIGNS.get(str(one.get('status')), '?')} {_name(one)}")] for one in files]
    if answer.get("truncated"):
        lines.append([Segment("More files or longer patches are left out.", DIM)])
    for file in files:
        lines += [[Segment("")], [Segment(_name(file), BOLD)], *_patch(file, width, MAX_LINES)]
    return lines


def _name(file: Mapping[str, Any]) -> str:
    old = file.get("old_path")
    name = flat(str(file.get("path")))
    count = "binary" if file.get("binary") else f"+{file.get('added', 0)} −{file.get('removed', 0)}"
    return f"{flat(str(old))} → {name}  {flat(count)}" if old else f"{name}  {flat(count)}"


def _patch(file: Mapping[str, Any], width: int, most: int) -> list[Segments]:
    patch = file.get("patch")
    if not isinstance(patch, str):
        return []
    wanted = [
        one
        for one in patch.rstrip("\n").split("\n")
        if not one.startswith(("diff --git", "index ", "--- ", "+++ "))
    ]
    lines: list[Segments] = []
    for line in wanted[:most]:
        lines += paragraph(clean(line).rstrip("\n"), width, _MARKS.get(line[:1], Style.null()))
    if len(wanted) > most:
        lines.append([Segment(f"{len(wanted) - most} more lines", DIM)])
    return lines
