"""A request of kind `trust` as text, for the iOS app and the terminal. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["KIND", "lists_all", "trust_lines"]

KIND = "trust"
"""The kind of such a request."""


def trust_lines(asked: Any) -> list[str]:
    """Return what a person must know before they trust the folder: the folder, and everything that would run, a line
    each."""
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
    """Return whether the request lists everything that would run."""
    return isinstance(asked, dict) and isinstance(asked.get("runs"), list) and not asked.get("more")
