"""What an edit of Claude Code changes: from the file itself before it is allowed, from the program's report afterwards."""

from __future__ import annotations

import os
import stat
from typing import Any

from bridgehub.agents.diffs import apply_edits, entry_of_hunks, entry_of_texts

__all__ = ["told_diff", "wanted_diff"]

MAX_FILE_BYTES = 1024 * 1024
"""Bytes of a file that is compared with its new text."""


def wanted_diff(tool: str, tool_input: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return what a call would change. None if that is unknown. Blocks: it reads the file."""
    path = tool_input.get("file_path")
    if tool not in ("Edit", "MultiEdit", "Write") or not isinstance(path, str) or not os.path.isabs(path):
        return None
    try:
        old = _read(path)
    except FileNotFoundError:
        old = None
    except (OSError, ValueError):  # too long, not a file, not text
        return None
    if tool == "Write":
        content = tool_input.get("content")
        new = content if isinstance(content, str) else None
    else:
        edits = tool_input.get("edits") if tool == "MultiEdit" else [tool_input]
        new = apply_edits(old or "", edits) if isinstance(edits, list) else None
    return None if new is None else [entry_of_texts(path, old, new)]


def _read(path: str) -> str:
    """Return a file's text. Raises OSError, ValueError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("no file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ValueError("too long")
    return data.decode()


def told_diff(result: object) -> list[dict[str, Any]] | None:
    """Return what a call changed, from the data beside its result. None if it was not an edit."""
    if not isinstance(result, dict):
        return None
    path, hunks = result.get("filePath"), result.get("structuredPatch")
    if not isinstance(path, str) or not isinstance(hunks, list):
        return None
    content = result.get("content")
    if result.get("type") == "create" and isinstance(content, str):
        return [entry_of_texts(path, None, content)]
    entry = entry_of_hunks(path, hunks)
    return None if entry is None or not hunks else [entry]
