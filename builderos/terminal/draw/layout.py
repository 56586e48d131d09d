"""Where each entry of a long conversation stands. Only entries near the window are drawn; of others the height is
estimated, and corrected when they come near.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from typing import Final

import attrs

from builderos.terminal.draw.entry import Drawing, EntryLook, Pen
from builderos.terminal.draw.lines import Segments
from builderos.terminal.model.entries import Entry
from builderos.terminal.model.timeline import Timeline

__all__ = ["Layout"]

KEPT: Final = 200
"""Drawings that are kept: what a person scrolls through without a new drawing."""


@attrs.define(eq=False)
class Layout:
    """The entries' heights and drawings at one width.

    Attributes:
        total: lines of the whole conversation.
        entries: those of the timeline as of the last update.
    """

    timeline: Timeline
    pen: Pen
    look: EntryLook = attrs.field(factory=lambda: EntryLook(80))
    total: int = 0
    entries: list[Entry] = attrs.field(factory=list)
    _heights: list[int] = attrs.field(factory=list)
    _tops: list[int] = attrs.field(factory=list)
    _exact: dict[str, tuple[int, EntryLook, int]] = attrs.field(factory=dict)
    _drawings: OrderedDict[str, tuple[int, EntryLook, Drawing]] = attrs.field(factory=OrderedDict)
    _shape: int = -1

    def update(self, look: EntryLook) -> None:
        """Take what changed in the conversation, or another look."""
        timeline = self.timeline
        if look != self.look or self._shape != timeline.shape:
            self.look, self._shape = look, timeline.shape
            self.entries = list(timeline.entries)
            self._heights = [self._height(one) for one in self.entries]
            self._sum(0)
        else:
            dirty = [one for one in map(self._find, timeline.dirty) if one is not None]
            for entry in dirty:
                at = timeline.index(entry)
                self._heights[at] = self._draw(entry)
            if dirty:
                self._sum(min(map(timeline.index, dirty)))
        timeline.dirty.clear()

    def forget(self, key: str) -> None:
        """Draw an entry again: a person folded or unfolded a part of it."""
        self._drawings.pop(key, None)
        self._exact.pop(key, None)
        self.timeline.dirty.add(key)

    def settle(self, top: int, bottom: int) -> bool:
        """Draw all entries between two lines; tell whether one of them has another height than it was taken for."""
        changed = len(self._heights)
        for at in range(self.at(top), len(self._heights)):
            if self._tops[at] > bottom:
                break
            height = self._draw(self.entries[at])
            if height != self._heights[at]:
                self._heights[at] = height
                changed = min(changed, at)
        if changed == len(self._heights):
            return False
        self._sum(changed)
        return True

    def at(self, line: int) -> int:
        """Return the number of the entry that has this line."""
        return max(0, min(len(self._tops) - 1, bisect_right(self._tops, line) - 1))

    def top(self, at: int) -> int:
        """Return the first line of an entry."""
        return self._tops[at] if 0 <= at < len(self._tops) else 0

    def line(self, line: int) -> Segments:
        """Return a line of the conversation; an empty one outside of it."""
        if not 0 <= line < self.total:
            return []
        at = self.at(line)
        lines = self._drawing(self.entries[at]).lines
        inside = line - self._tops[at]
        return lines[inside] if inside < len(lines) else []

    def find(self, entry: Entry, text: str) -> int:
        """Return the first line of an entry that has a text; the entry's own first line if none has it whole."""
        at = self.timeline.index(entry)
        wanted = text.casefold()
        for number, line in enumerate(self._drawing(entry).lines):
            if wanted in "".join(segment.text for segment in line).casefold():
                return self.top(at) + number
        return self.top(at)

    def tool_at(self, line: int) -> tuple[str, str] | None:
        """Return entry and call whose head stands on a line."""
        if not 0 <= line < self.total:
            return None
        at = self.at(line)
        entry = self.entries[at]
        tool_id = self._drawing(entry).tools.get(line - self._tops[at])
        return None if tool_id is None else (entry.key, tool_id)

    def _sum(self, start: int) -> None:
        before = self._tops[start] if 0 < start < len(self._tops) else 0
        start = start if before else 0
        self._tops[start:] = accumulate(self._heights[start:-1], initial=before) if self._heights else []
        self.total = self._tops[-1] + self._heights[-1] if self._heights else 0

    def _height(self, entry: Entry) -> int:
        known = self._exact.get(entry.key)
        if known is not None and known[:2] == (entry.version, self.look):
            return known[2]
        return self.pen.estimate(entry, self.look)

    def _draw(self, entry: Entry) -> int:
        height = len(self._drawing(entry).lines)
        self._exact[entry.key] = (entry.version, self.look, height)
        return height

    def _drawing(self, entry: Entry) -> Drawing:
        known = self._drawings.get(entry.key)
        if known is not None and known[0] == entry.version and known[1] == self.look:
            self._drawings.move_to_end(entry.key)
            return known[2]
        drawing = self.pen.draw(entry, self.look)
        self._drawings[entry.key] = (entry.version, self.look, drawing)
        self._drawings.move_to_end(entry.key)
        if len(self._drawings) > KEPT:
            self._drawings.popitem(last=False)
        return drawing

    def _find(self, key: str) -> Entry | None:
        kind, _, name = key.partition(":")
        if kind == "m":
            return self.timeline.messages.get(name)
        return self.timeline.answers.get(name) if kind == "t" else None
