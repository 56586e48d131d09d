"""What differs between two states of a workspace, as file entries with patches. Blocks.

The list comes first and is always whole up to its bound; patches are read behind it as far as they are small enough.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import attrs

from bridgehub.workspace.git import GitFailed, stream_git
from bridgehub.workspace.paths import shown
from bridgehub.workspace.store import CheckpointStore, Kept

__all__ = ["ChangeLimits", "Compared", "FileChange", "compare", "count_changes", "list_changes"]

Status = Literal["added", "modified", "deleted", "renamed", "mode"]

RENAMES = "-M50%"
DIFF = ("diff-tree", "-r", RENAMES, "-l1000", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")

LIST_S = 10.0
"""What git may take to list changes."""

PATCH_S = 10.0

_HEADER = b"diff --git "


@attrs.frozen
class ChangeLimits:
    """How much of changes is shown: bytes of one file's patch, of all of them, and how many files."""

    file_bytes: int = 256 * 1024
    all_bytes: int = 4 * 1024 * 1024
    files: int = 500


@attrs.frozen
class FileChange:
    """One file. `path`: where it is now, or was; `blobs`: its contents before and after, as git names them."""

    path: bytes
    old_path: bytes | None
    status: Status
    modes: tuple[str, str]
    blobs: tuple[str, str]
    added: int = 0
    removed: int = 0
    binary: bool = False
    sections: int = 1


@attrs.frozen
class Compared:
    """File entries (PROTOCOL section 9), and whether any are left out or cut."""

    files: list[dict[str, Any]]
    truncated: bool


def list_changes(store: CheckpointStore, before: Kept, after: Kept) -> list[FileChange]:
    """Return what differs, in git's order, without paths that one of the two does not cover.

    Raises GitFailed, GitMissing.
    """
    output = store.git(*DIFF, "--raw", "--numstat", "-z", before.tree, after.tree, limit_s=LIST_S)
    fields = iter(output.split(b"\0"))
    found: dict[bytes, FileChange] = {}
    for field in fields:
        if field.startswith(b":"):
            change = _raw(field, fields)
            found[change.path] = change
        elif field:
            _count(field, fields, found)
    return [one for one in found.values() if _is_covered(one, before, after)]


def _raw(meta: bytes, fields: Iterator[bytes]) -> FileChange:
    old_mode, new_mode, old_blob, new_blob, letter = meta[1:].decode().split(" ")
    first = next(fields)
    path, old_path = (next(fields), first) if letter[0] in "RC" else (first, None)
    status: Status = "modified"
    if letter[0] == "R":
        status = "renamed"
    elif letter == "A" or letter[0] == "C":
        status = "added"
    elif letter == "D":
        status = "deleted"
    elif old_blob == new_blob:
        status = "mode"
    sections = 2 if letter[0] == "T" else 1
    return FileChange(path, old_path, status, (old_mode, new_mode), (old_blob, new_blob), sections=sections)


def _count(field: bytes, fields: Iterator[bytes], found: dict[bytes, FileChange]) -> None:
    added, removed, path = field.split(b"\t", 2)
    if not path:  # of a rename the two names follow
        next(fields)
        path = next(fields)
    if path in found:
        binary = added == b"-"
        numbers = (0, 0) if binary else (int(added), int(removed))
        found[path] = attrs.evolve(found[path], added=numbers[0], removed=numbers[1], binary=binary)


def _is_covered(change: FileChange, before: Kept, after: Kept) -> bool:
    paths = [change.path] if change.old_path is None else [change.path, change.old_path]
    return all(kept.covers(path) for kept in (before, after) for path in paths)


def count_changes(store: CheckpointStore, before: Kept, after: Kept) -> tuple[int, int, int]:
    """Return how many files differ, and the lines added and removed. Raises GitFailed, GitMissing."""
    changes = list_changes(store, before, after)
    return len(changes), sum(one.added for one in changes), sum(one.removed for one in changes)


def compare(
    store: CheckpointStore,
    before: Kept,
    after: Kept,
    *,
    path: bytes | None = None,
    limits: ChangeLimits | None = None,
) -> Compared:
    """Return what differs with its patches; with `path` that file alone, and whole.

    Raises GitFailed, GitMissing.
    """
    bounds = limits or ChangeLimits()
    changes = list_changes(store, before, after)
    if path is not None:
        changes = [one for one in changes if path in (one.path, one.old_path)]
        bounds = attrs.evolve(bounds, file_bytes=bounds.all_bytes)
    cut = len(changes) > bounds.files
    changes = changes[: bounds.files]
    patches = _patches(store, before, after, changes, bounds) if changes else {}
    entries = [_entry(one, patches.get(one.path)) for one in changes]
    return Compared(entries, cut or any(entry["truncated"] for entry in entries))


def _entry(change: FileChange, patch: bytes | None) -> dict[str, Any]:
    return {
        "path": shown(change.path),
        "old_path": None if change.old_path is None else shown(change.old_path),
        "status": change.status,
        "added": change.added,
        "removed": change.removed,
        "binary": change.binary,
        "patch": None if patch is None else patch.decode("utf-8", "replace"),
        "truncated": patch is None,
    }


def _patches(
    store: CheckpointStore, before: Kept, after: Kept, changes: Sequence[FileChange], bounds: ChangeLimits
) -> dict[bytes, bytes]:
    """Return the patches that fit, by path."""
    asked = {path for one in changes for path in (one.path, one.old_path) if path is not None}
    paths = [os.fsdecode(path) for path in asked] if len(asked) <= 50 else []
    command = (
        *DIFF,
        "-p",
        "-U3",
        "--src-prefix=a/",
        "--dst-prefix=b/",
        before.tree,
        after.tree,
        "--",
        *paths,
    )
    options = (*store.options(), "-c", "core.quotePath=true", "--literal-pathspecs")
    wanted = {_header_of(one): one for one in changes}
    found: dict[bytes, bytes] = {}
    left = bounds.all_bytes
    try:
        with stream_git(
            *command, cwd=str(store.folder), before=options, environment=store.environment(), limit_s=PATCH_S
        ) as chunks:
            for header, section in _sections(chunks, bounds.file_bytes):
                change = wanted.get(header)
                if change is None or section is None or len(section) > left:
                    continue
                joined = found.get(change.path, b"") + section
                if len(joined) <= bounds.file_bytes:
                    left -= len(section)
                    found[change.path] = joined
                if left <= 0:
                    break
    except GitFailed as exc:
        if exc.status is not None:
            raise
    return found


def _header_of(change: FileChange) -> bytes:
    old = change.path if change.old_path is None else change.old_path
    return b"diff --git " + _quoted(b"a/" + old) + b" " + _quoted(b"b/" + change.path)


_ESCAPES = {
    7: b"\\a",
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    11: b"\\v",
    12: b"\\f",
    13: b"\\r",
    34: b'\\"',
    92: b"\\\\",
}
_PLAIN = re.compile(rb"[ !#-\[\]-~]*")


def _quoted(name: bytes) -> bytes:
    """Return a name as git writes it."""
    if _PLAIN.fullmatch(name):
        return name
    return (
        b'"'
        + b"".join(
            _ESCAPES.get(one) or (bytes((one,)) if 32 <= one < 127 else b"\\%03o" % one) for one in name
        )
        + b'"'
    )


def _sections(chunks: Iterator[bytes], most: int) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield each file's header line and its part of a patch; None for a part that is longer than `most`."""
    header, parts, size = b"", [b""], 0
    parts.clear()
    for line in _lines(chunks):
        if line.startswith(_HEADER):
            if header:
                yield header, b"".join(parts) if size <= most else None
            header, parts, size = line.rstrip(b"\n"), [], 0
        if header and size <= most:
            size += len(line)
            parts.append(line)
    if header:
        yield header, b"".join(parts) if size <= most else None


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest
