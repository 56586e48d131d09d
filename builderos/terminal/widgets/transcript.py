"""The conversation on the screen: as long as it likes, drawn only where it is looked at."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from builderos.terminal.draw.entry import EntryLook, Pen
from builderos.terminal.draw.layout import Layout
from builderos.terminal.model.entries import Entry
from builderos.terminal.model.timeline import Timeline

__all__ = ["Transcript"]

ROUNDS: Final = 8
"""Times that the window is settled again because an entry in it had another height."""


class Transcript(ScrollView, can_focus=False):
    """Follows the end until a person scrolls away from it."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 0 1; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    class TopSeen(Message):
        """The beginning of what is known came into view."""

    class EndSeen(Message):
        """The end is on the screen."""

    def __init__(self, timeline: Timeline, pen: Pen) -> None:
        super().__init__()
        self.layout_of = Layout(timeline, pen)
        self.follows = True
        self._settling = False
        self._code_style, self._unfolded = "ansi_dark", False

    @property
    def look(self) -> EntryLook:
        """How entries are drawn now."""
        return EntryLook(max(10, self.scrollable_content_region.width), self._code_style, self._unfolded)

    def set_look(self, *, code_style: str | None = None, unfolded: bool | None = None) -> None:
        """Draw in another way."""
        self._code_style = code_style or self._code_style
        self._unfolded = self._unfolded if unfolded is None else unfolded
        self.sync()

    @property
    def unfolded(self) -> bool:
        """Whether all is unfolded."""
        return self._unfolded

    def sync(self) -> None:
        """Take what changed in the conversation."""
        height = self.scrollable_content_region.height
        if height <= 0:
            return
        layout = self.layout_of
        y = round(self.scroll_y)
        anchor = None
        if not self.follows and layout.entries:
            at = layout.at(y)
            anchor = (layout.entries[at], y - layout.top(at))
        layout.update(self.look)
        for _ in range(ROUNDS):
            if anchor is not None:
                y = layout.top(layout.timeline.index(anchor[0])) + anchor[1]
            y = max(0, layout.total - height) if self.follows else max(0, min(y, layout.total - height))
            if not layout.settle(y - height, y + 2 * height):
                break
        self._put(y)

    def _put(self, y: int) -> None:
        self._settling = True
        try:
            size = Size(self.scrollable_content_region.width, self.layout_of.total)
            if size != self.virtual_size:
                self.virtual_size = size
            self.scroll_target_y = self.scroll_y = y
        finally:
            self._settling = False
        self.refresh()
        if self.follows:
            self.post_message(self.EndSeen())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._settling or round(old_value) == round(new_value):
            return
        height = self.scrollable_content_region.height
        self.follows = round(new_value) >= self.layout_of.total - height
        if new_value < height:
            self.post_message(self.TopSeen())
        self.sync()

    def on_resize(self, event: events.Resize) -> None:
        self.sync()

    def scroll_lines(self, lines: int) -> None:
        """Move the window."""
        height = self.scrollable_content_region.height
        y = max(0, min(round(self.scroll_y) + lines, self.layout_of.total - height))
        if y == 0 and round(self.scroll_y) == 0:
            self.post_message(self.TopSeen())
        self.scroll_to(y=y, animate=False, force=True)

    def show(self, entry: Entry, text: str) -> None:
        """Scroll to an entry, to its first line with a text if one has it whole."""
        self.follows = False
        self.sync()
        layout = self.layout_of
        for _ in range(ROUNDS):
            top = layout.top(layout.timeline.index(entry))
            if not layout.settle(top, top + self.size.height):
                break
        self._put(max(0, min(layout.find(entry, text) - 1, layout.total - self.size.height)))

    def to_end(self) -> None:
        """Follow the end again."""
        self.follows = True
        self.sync()

    def render_line(self, y: int) -> Strip:
        line = self.layout_of.line(y + self.scroll_offset.y)
        width = self.scrollable_content_region.width
        return Strip(line).crop_extend(0, width, self.rich_style).apply_style(self.rich_style)

    def on_click(self, event: events.Click) -> None:
        found = self.layout_of.tool_at(event.y + self.scroll_offset.y)
        if found is not None:
            key, tool_id = found
            self.layout_of.pen.open_tools ^= {tool_id}
            self.layout_of.forget(key)
            self.follows = False
            self.sync()
