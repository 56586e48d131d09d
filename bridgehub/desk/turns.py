"""Turns out of the rows of a program's record, one row after the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

import attrs

from bridgehub.desk.records import Began, DeskEvent, Ended

__all__ = ["RowKind", "RowParts", "Turns", "read_time"]

RowKind = Literal["prompt", "command", "part", "end", "interrupt"]


@attrs.frozen
class RowParts:
    """What one row says. A `command` begins a turn only if the agent answers it."""

    kind: RowKind
    at_ms: int
    key: str = ""
    text: str | None = None
    parts: tuple[DeskEvent, ...] = ()
    rests: bool = False
    """Whether the agent may be done after it."""


@attrs.define
class Turns:
    """Brings rows in the order of turns: each begins, has its parts, and ends once.

    Attributes:
        is_open: whether a turn has begun and not ended.
        rests: whether the newest row may be its last.
    """

    is_open: bool = False
    rests: bool = False
    last_ms: int = 0
    _command: RowParts | None = None

    def take(self, row: RowParts) -> Iterator[DeskEvent]:
        """Give the events of the next row."""
        if row.kind == "command":
            yield from self.close()
            self._command = row
        elif row.kind == "prompt":
            yield from self.close()
            yield from self._begin(row.key, row.at_ms, row.text)
        elif row.kind == "part":
            if not self.is_open:
                began = self._command
                if began is None:
                    yield from self._begin(row.key, row.at_ms, None)
                else:
                    yield from self._begin(began.key, began.at_ms, began.text)
            yield from row.parts
            self.rests = row.rests
        elif self.is_open:
            self.last_ms = row.at_ms or self.last_ms
            yield from self.close(was_interrupted=row.kind == "interrupt")
        self.last_ms = row.at_ms or self.last_ms

    def close(self, *, was_interrupted: bool | None = None) -> Iterator[DeskEvent]:
        """End the open turn; one that broke off counts as interrupted."""
        if self.is_open:
            broke_off = not self.rests if was_interrupted is None else was_interrupted
            self.is_open = self.rests = False
            yield Ended(self.last_ms, broke_off)
        self._command = None

    def all(self, rows: Iterable[RowParts]) -> Iterator[DeskEvent]:
        """Give the events of whole turns, the last one ended too."""
        for row in rows:
            yield from self.take(row)
        yield from self.close()

    def _begin(self, key: str, at_ms: int, text: str | None) -> Iterator[DeskEvent]:
        self.is_open, self.rests, self._command = True, False, None
        yield Began(key, at_ms, text)


def read_time(value: object) -> int:
    """Return an ISO 8601 time in milliseconds since 1970; 0 if it is none."""
    if not isinstance(value, str) or len(value) > 64:
        return 0
    try:
        return max(0, int(datetime.fromisoformat(value).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return 0
