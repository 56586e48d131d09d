"""The changes of an edit, as file entries of PROTOCOL section 9, from an agent's hunks or from two texts. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

__all__ = [
    "MAX_PATCH_CHARS",
    "apply_edits",
    "entry_of_hunks",
    "entry_of_patch",
    "entry_of_texts",
    "relative",
    "relative_diff",
]

MAX_PATCH_CHARS = 12 * 1024
"""Code points of one entry's patch. A longer patch is left out and marked so. Five of the largest fit into a request."""

MAX_LINES = 20_000
"""Lines of two texts together. To compare longer ones takes too long."""

NO_NEWLINE = "\\ No newline at end of file"


def relative(path: str, workspace: str) -> str:
    """Return a path below the workspace relative to it, and any other path unchanged."""
    real, root = os.path.normpath(path), os.path.normpath(workspace)
    return os.path.relpath(real, root) if workspace and real.startswith(root + os.sep) else path


def relative_diff(diff: Any, workspace: str) -> Any:
    """Return file entries with paths relative to the workspace, in the patches too."""
    return [_relative_entry(entry, workspace) for entry in diff] if isinstance(diff, list) else diff


def _relative_entry(entry: dict[str, Any], workspace: str) -> dict[str, Any]:
    made = dict(entry)
    for field in ("path", "old_path"):
        path = entry[field]
        if path is None or (short := relative(path, workspace)) == path:
            continue
        made[field] = short
        if made["patch"] is not None:
            header, mark, hunks = made["patch"].partition("\n@@")
            long = path.lstrip("/")
            for side in ("a/", "b/", "rename from ", "rename to "):
                header = header.replace(f"{side}{long}", f"{side}{short}")
            made["patch"] = header + mark + hunks
    return made


def entry_of_texts(path: str, old: str | None, new: str | None) -> dict[str, Any]:
    """Return the entry of a file that changes from `old` to `new`. None means that the file does not exist."""
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) > MAX_LINES:
        return _entry(path, _status(old, new), None, len(after), len(before))
    from difflib import SequenceMatcher  # the server reads entries and makes none

    groups = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(3)
    hunks: list[str] = []
    for group in groups:
        first, last = group[0], group[-1]
        hunks.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@")
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                hunks += _marked(" ", before[old_from:old_to])
                continue
            hunks += _marked("-", before[old_from:old_to])
            hunks += _marked("+", after[new_from:new_to])
    return _with_hunks(path, _status(old, new), hunks)


def entry_of_hunks(path: str, hunks: Iterable[Any], *, is_new: bool = False) -> dict[str, Any] | None:
    """Return the entry of hunks in the form of Claude Code. None if they have another form."""
    lines: list[str] = []
    for hunk in hunks:
        if not isinstance(hunk, dict) or not isinstance(hunk.get("lines"), list):
            return None
        numbers = [hunk.get(name) for name in ("oldStart", "oldLines", "newStart", "newLines")]
        if not all(isinstance(number, int) for number in numbers):
            return None
        lines.append(f"@@ -{numbers[0]},{numbers[1]} +{numbers[2]},{numbers[3]} @@")
        lines += [str(line) for line in hunk["lines"]]
    return _with_hunks(path, "added" if is_new else "modified", lines)


def entry_of_patch(path: str, patch: str, old_path: str | None = None) -> dict[str, Any]:
    """Return the entry of a file whose hunks are already text."""
    lines = patch.split("\n")
    start = next((at for at, line in enumerate(lines) if line.startswith("@@")), 0)
    hunks = lines[start:-1] if lines and not lines[-1] else lines[start:]
    return _with_hunks(path, "modified" if old_path is None else "renamed", hunks, old_path)


def apply_edits(text: str, edits: Sequence[Any]) -> str | None:
    """Apply edits in the form of Claude Code, each of which replaces one text. None if one does not match."""
    for edit in edits:
        old, new = (
            (edit.get("old_string"), edit.get("new_string")) if isinstance(edit, dict) else (None, None)
        )
        if not isinstance(old, str) or not isinstance(new, str) or (old and old not in text):
            return None
        text = text.replace(old, new) if edit.get("replace_all") is True else text.replace(old, new, 1)
    return text


def _lines(text: str | None) -> list[str]:
    return (
        []
        if not text
        else text.split("\n")[:-1]
        if text.endswith("\n")
        else [*text.split("\n")[:-1], _Last(text)]
    )


class _Last(str):
    """The last line of a text that does not end with a newline."""

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, text.rpartition("\n")[2] + "\0")


def _marked(mark: str, lines: Sequence[str]) -> list[str]:
    marked: list[str] = []
    for line in lines:
        marked.append(mark + line.removesuffix("\0"))
        if isinstance(line, _Last):
            marked.append(NO_NEWLINE)
    return marked


def _range(start: int, end: int) -> str:
    count = end - start
    return f"{start + 1 if count else start},{count}"


def _status(old: str | None, new: str | None) -> str:
    return "added" if old is None else "deleted" if new is None else "modified"


def _with_hunks(path: str, status: str, hunks: Sequence[str], old_path: str | None = None) -> dict[str, Any]:
    added = sum(line.startswith("+") for line in hunks)
    removed = sum(line.startswith("-") for line in hunks)
    patch = "\n".join([*_header(path, status, old_path, has_hunks=bool(hunks)), *hunks]) + "\n"
    return _entry(path, status, patch if len(patch) <= MAX_PATCH_CHARS else None, added, removed, old_path)


def _header(path: str, status: str, old_path: str | None, *, has_hunks: bool) -> list[str]:
    old, new = _name("a", old_path or path), _name("b", path)
    lines = [f"diff --git {old} {new}"]
    if status in ("added", "deleted"):
        lines.append(f"{'new' if status == 'added' else 'deleted'} file mode 100644")
    elif old_path is not None:
        lines += [f"rename from {_quoted(old_path.lstrip('/'))}", f"rename to {_quoted(path.lstrip('/'))}"]
    if has_hunks:
        lines += [
            f"--- {'/dev/null' if status == 'added' else old}",
            f"+++ {'/dev/null' if status == 'deleted' else new}",
        ]
    return lines


def _name(side: str, path: str) -> str:
    return _quoted(f"{side}/{path.lstrip('/')}")


def _quoted(name: str) -> str:
    if name.isascii() and name.isprintable() and '"' not in name and "\\" not in name:
        return name
    signs = {10: "\\n", 9: "\\t", 13: "\\r", 34: '\\"', 92: "\\\\"}
    raw = name.encode("utf-8", "replace")
    return (
        '"'
        + "".join(signs.get(one) or (chr(one) if 32 <= one < 127 else f"\\{one:03o}") for one in raw)
        + '"'
    )


def _entry(
    path: str, status: str, patch: str | None, added: int, removed: int, old_path: str | None = None
) -> dict[str, Any]:
    return {
        "path": path,
        "old_path": old_path,
        "status": status,
        "added": added,
        "removed": removed,
        "binary": False,
        "patch": patch,
        "truncated": patch is None,
    }
