"""Files that another program writes: their lines, in bounded memory, and what the list shows of each. Blocks: use a thread.

A line that has no end yet is not given. One longer than `MAX_LINE` is left out.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import attrs
import orjson

from bridgehub.desk.records import DeskSession

__all__ = [
    "MAX_LINE",
    "Described",
    "NotReadable",
    "backwards",
    "forwards",
    "open_record",
    "parse",
    "whole_size",
]

MAX_LINE = 8 * 1024 * 1024
"""Bytes of one line that is read; an image that an agent looked at is about five million."""

CHUNK = 512 * 1024

_Stamp = tuple[int, int, int]


class NotReadable(Exception):
    """The file is missing, is not a regular file or may not be read."""


def open_record(path: str) -> BinaryIO:
    """Open a regular file for reading; never waits, as a FIFO would. Raises NotReadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise NotReadable(path) from error
    file = os.fdopen(descriptor, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise NotReadable(path)
    return file


def forwards(file: BinaryIO, start: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Give the whole lines from `start` on, each with the place after it; about `limit` bytes at most."""
    file.seek(start)
    position, rest, is_too_long = start, b"", False
    while position - start < limit:
        chunk = file.read(CHUNK)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            position += len(line) + 1
            if is_too_long:
                is_too_long = False
                continue
            yield position, line
        if len(rest) > MAX_LINE:
            position += len(rest)
            rest, is_too_long = b"", True


def backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Give the whole lines before `end`, the last one first."""
    position, rest, drops_last = end, b"", True  # what comes after the last line end is not whole
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        file.seek(position)
        data = file.read(size)
        if len(data) != size:
            return  # it was cut off meanwhile
        parts = (data + rest).split(b"\n")
        if drops_last:
            rest = b""
            if len(parts) == 1:
                continue
            parts.pop()
            drops_last = False
        rest, *lines = parts
        yield from reversed(lines)
        if len(rest) > MAX_LINE:
            rest, drops_last = b"", True
    if rest and not drops_last:
        yield rest


def whole_size(path: str) -> int:
    """Return the place after the last whole line: the program may be writing the next one. Raises NotReadable."""
    with open_record(path) as file:
        position = os.fstat(file.fileno()).st_size
        while position > 0:
            size = min(CHUNK, position)
            file.seek(position - size)
            found = file.read(size).rfind(b"\n")
            if found >= 0:
                return position - size + found + 1
            position -= size
    return 0


def parse(line: bytes) -> dict[str, Any] | None:
    """Return a line's object; None if it is not one."""
    try:
        row = orjson.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


@attrs.define(eq=False)
class Described:
    """The sessions of files, by path, remembered until a file changes.

    `describe` reads one file; it returns None for one that is not to be listed.
    """

    describe: Callable[[str, os.stat_result], DeskSession | None]
    _seen: dict[str, tuple[_Stamp, DeskSession | None]] = attrs.field(factory=dict)

    def sessions(self, files: Iterable[tuple[str, os.stat_result]]) -> tuple[list[DeskSession], int]:
        """Return the sessions of exactly these files, and how many files cannot be read."""
        found: list[DeskSession] = []
        unreadable = 0
        kept: dict[str, tuple[_Stamp, DeskSession | None]] = {}
        for path, status in files:
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._seen.get(path)
            if known is None or known[0] != stamp:
                try:
                    known = (stamp, self.describe(path, status))
                except NotReadable:
                    unreadable += 1
                    continue
            kept[path] = known
            if known[1] is not None:
                found.append(known[1])
        self._seen = kept
        return found, unreadable
