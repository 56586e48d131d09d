"""What the list shows of each file, remembered until the file changes. Blocks: use a thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import attrs

from bridgehub.desk.lines import NotReadable
from bridgehub.desk.records import DeskSession

__all__ = ["Described"]

_Stamp = tuple[int, int, int]


@attrs.define(eq=False)
class Described:
    """The sessions of files, by path. `describe` reads one; it returns None for a file that is not to be listed."""

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
