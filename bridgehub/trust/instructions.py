"""The instructions of a folder as text, for a program that was started to leave the folder's settings out.

They are text and always count; the program itself would leave them out with the rest. A file counts only if it really lies
inside the folder that it is found in, so that a link in a stranger's folder cannot have another file of the person read.
Blocking: use a thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bridgehub.trust.reading import (
    MAX_FILES_OF_A_FOLDER,
    MAX_PARENTS,
    files_below,
    project_folders,
    read_file,
)

__all__ = ["claude_instructions", "codex_instructions"]

MAX_BYTES = 200_000
"""Bytes of all instructions together: about 50,000 tokens."""

MAX_DEPTH = 5
"""How deep files may bring in others (`@file`)."""

_IMPORT = re.compile(r"(?:^|\s)@([\w./~-]+)")
_HEAD = "Instructions of the folder that you work in, as its files give them:"
_CUT = "[The rest of the instructions is left out: they are too long.]"


def claude_instructions(workspace: str, config: Path) -> str:
    """Return what Claude Code reads as instructions from the workspace and the folders above it; empty if nothing."""
    here, own = Path(workspace), os.path.realpath(config)
    parts: dict[Path, str] = {}
    for folder in reversed((here, *here.parents)[:MAX_PARENTS]):
        dot = folder / ".claude"
        paths = [folder / "CLAUDE.md"]
        if os.path.realpath(dot) != own:
            paths += [dot / "CLAUDE.md", *islice(files_below(dot / "rules", ".md"), MAX_FILES_OF_A_FOLDER)]
        paths.append(folder / "CLAUDE.local.md")
        if not any(os.path.lexists(path) for path in paths[:2]):
            paths.insert(0, folder / "AGENTS.md")
        for path in paths:
            _read(path, folder, here, parts, 0)
    return _joined(parts)


def codex_instructions(workspace: str) -> str:
    """Return what Codex reads as instructions from the project's root down to the workspace; empty if nothing."""
    parts: dict[Path, str] = {}
    for folder in reversed(project_folders(Path(workspace))):
        for name in ("AGENTS.override.md", "AGENTS.md"):
            if _read(folder / name, folder, None, parts, 0):
                break
    return _joined(parts)


def _read(path: Path, inside: Path, imports: Path | None, parts: dict[Path, str], depth: int) -> bool:
    """Add a file, and the files inside the folder `imports` that it brings in."""
    if path in parts or depth > MAX_DEPTH:
        return False
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(inside)):
        return False
    data = read_file(path)
    if data is None:
        return False
    text = parts[path] = data.decode("utf-8-sig", errors="replace")
    if imports is not None:
        for name in _IMPORT.findall(text)[:MAX_FILES_OF_A_FOLDER]:
            other = Path(os.path.normpath(path.parent / name))
            if other.is_relative_to(imports) and len(parts) < MAX_FILES_OF_A_FOLDER:
                _read(other, imports, imports, parts, depth + 1)
    return bool(text.strip())


def _joined(parts: dict[Path, str]) -> str:
    text = "\n\n".join(_sections(parts))
    whole = text.encode()
    if len(whole) > MAX_BYTES:
        text = f"{whole[:MAX_BYTES].decode(errors='ignore')}\n\n{_CUT}"
    return f"{_HEAD}\n\n{text}" if text else ""


def _sections(parts: dict[Path, str]) -> Iterator[str]:
    for path, text in parts.items():
        if text.strip():
            yield f"Contents of {path}:\n\n{text.strip()}"
