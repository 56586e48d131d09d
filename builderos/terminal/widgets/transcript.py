"""The conversation on the screen: as long as it likes, drawn only where it is looked at."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Final

from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar
from textual.strip import Strip

from builderos.terminal.draw.entry import EntryLook, Pen
from builderos.terminal.draw.flow import whole
from builderos.terminal.draw.layout import Layout
from builderos.terminal.model.entries import Entry
from builderos.terminal.model.timeline import Timeline
from builderos.terminal.widgets.strips import LineStrips, Rail
from builderos.terminal.widgets.work import begin

__all__ = ["Transcript"]

ROUNDS: Final = 8
"""Times that the window is settled again because an entry in it had another height."""

AHEAD: Final = 10
"""Windows above which the beginning of what is known is close: what is before should be there when it is needed."""

REST_S: Final = 0.1
LATEST_S: Final = 1.0
"""Long texts are drawn once nothing else was for so long, or after that time."""


class Transcript(ScrollView, can_focus=False):
    """Follows the end until a person scrolls away from it."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; padding: 0 1; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; }
    """

    virtual_size = Reactive(Size(0, 0))
    """The whole conversation. Textual's own lays the whole screen out again, for each line that comes."""

    class Shown(Message):
        """There is something to draw."""

    class TopSeen(Message):
        """The beginning of what is known is in view, or close."""

    class EndSeen(Message):
        """The end is on the screen."""

    def __init__(self, timeline: Timeline, pen: Pen) -> None:
        super().__init__()
        self.layout_of = Layout(timeline, pen)
        self.follows = True
        self._settling = self._refining = self._is_shown = False
        self._synced_at = 0.0
        self._code_style, self._unfolded = "ansi_dark", False
        self._strips = LineStrips()

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
        self._synced_at = monotonic()
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
        if not self._is_shown:
            self._is_shown = True
            self.post_message(self.Shown())
        if layout.pen.rough and not self._refining:
            self._refining = True
            begin(self, self._refine, "markdown")

    def draw(self) -> None:
        """Take what changed and draw it now. Textual would draw at its next tick, after half a dozen messages."""
        self.sync()
        screen = self.screen
        if self._is_shown and screen.is_current:
            widgets = {self, self.vertical_scrollbar}
            for one in widgets:
                one._repaint_required = False
            screen._dirty_widgets |= widgets
            screen._on_timer_update()

    async def _refine(self) -> None:
        """Draw the Markdown of long texts in a thread, the newest first; until then they show as plain text."""
        pen = self.layout_of.pen
        try:
            while pen.rough:
                latest = monotonic() + LATEST_S
                while (rest_s := min(latest, self._synced_at + REST_S) - monotonic()) > 0:  # noqa: ASYNC110 - a pause
                    await asyncio.sleep(rest_s)
                part, rough = pen.rough.popitem()
                lines = await asyncio.to_thread(whole, rough.text, rough.width, rough.style)
                pen.keep(part, rough, lines)
                self.layout_of.forget(rough.entry_key)
                self.sync()
        finally:
            self._refining = False

    def _put(self, y: int) -> None:
        self._settling = True
        try:
            size = Size(self.scrollable_content_region.width, self.layout_of.total)
            if size != self.virtual_size:
                self.virtual_size = size
                self._scroll_update(size)
            self.scroll_target_y = self.scroll_y = y
        finally:
            self._settling = False
        self.refresh()
        if self.follows:
            self.post_message(self.EndSeen())
        elif y < AHEAD * self.size.height:
            self.post_message(self.TopSeen())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._settling or round(old_value) == round(new_value):
            return
        height = self.scrollable_content_region.height
        self.follows = round(new_value) >= self.layout_of.total - height
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

    @property
    def vertical_scrollbar(self) -> ScrollBar:
        if self._vertical_scrollbar is None:
            self._vertical_scrollbar = rail = Rail(name="vertical", thickness=self.scrollbar_size_vertical)
            rail.display = False
            self.app._start_widget(self, rail)
        return self._vertical_scrollbar

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines of the screen up to the bar."""
        width = self.scrollable_content_region.width
        first, line_of, strip_of = self.scroll_offset.y, self.layout_of.line, self._strips.strip
        strips = [strip_of(line_of(first + y), width) for y in crop.line_range]
        for change in self.get_line_filters():
            background = self.background_colors[1]
            strips = [strip.apply_filter(change, background) for strip in strips]
        left, right = crop.column_span
        if left or right <= width:
            strips = [strip.crop(left, right) for strip in strips]
        return strips

    def on_click(self, event: events.Click) -> None:
        found = self.layout_of.tool_at(event.y + self.scroll_offset.y)
        if found is not None:
            key, tool_id = found
            self.layout_of.pen.open_tools ^= {tool_id}
            self.layout_of.forget(key)
            self.follows = False
            self.sync()
