"""A request of kind `trust` in words, for whoever has text alone: the shipped app, a terminal. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["KIND", "lists_all", "trust_lines"]

KIND = "trust"
"""The kind of such a request."""


def trust_lines(asked: Any) -> list[str]:
    """Return what a person must know before the folder is trusted: the folder, and all that would run, a line each."""
    fields = asked if isinstance(asked, dict) else {}
    lines = [
        f"The folder {fields.get('folder') or 'of this session'} holds things that would run or count by themselves:"
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
    """Tell whether the request lists all that would run."""
    return isinstance(asked, dict) and isinstance(asked.get("runs"), list) and not asked.get("more")
