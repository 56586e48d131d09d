"""Lines that scroll: the body of a question, changes, a file, a QR code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from builderos.terminal.draw.lines import Segments, flat
from builderos.terminal.widgets.bar import Bar

__all__ = ["Lines", "Viewer"]


class Lines(ScrollView, can_focus=False):
    """Shows what a function draws for a width."""

    DEFAULT_CSS = "Lines { scrollbar-size-vertical: 1; overflow-x: hidden; overflow-y: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self._draw: Callable[[int], list[Segments]] = lambda width: []
        self._lines: list[Segments] = []
        self._width = 0

    def set(self, draw: Callable[[int], list[Segments]]) -> None:
        """Show something else."""
        self._draw = draw
        self._redraw(self._width or 80)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if width != self._width and width > 1:
            self._redraw(width)
        return len(self._lines)

    def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._width:
            self._redraw(event.size.width)

    def _redraw(self, width: int) -> None:
        self._width = width
        self._lines = self._draw(max(1, width - 1))
        self.virtual_size = Size(width, len(self._lines))
        self.refresh(layout=True)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        line = self._lines[at] if 0 <= at < len(self._lines) else []
        return Strip(line).crop_extend(0, self.size.width, self.rich_style).apply_style(self.rich_style)


class Viewer(ModalScreen[None]):
    """A full screen of lines; Escape or q leaves."""

    CSS = "Viewer Lines { height: 1fr; padding: 0 1; } Viewer Bar { text-style: bold; }"

    def __init__(self, title: str, draw: Callable[[int], list[Segments]]) -> None:
        super().__init__()
        self._title, self._draw = title, draw
        self._body = Lines()

    def compose(self) -> Any:
        bar = Bar()
        bar.say(Text(f"{flat(self._title)} · esc leaves", "bold"))
        yield bar
        yield self._body

    def on_mount(self) -> None:
        self._body.set(self._draw)

    def on_key(self, event: events.Key) -> None:
        height = max(1, self._body.size.height - 1)
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -height, "pagedown": height, "space": height}
        if event.key in {"escape", "q", "ctrl+c"}:
            event.stop()
            self.dismiss(None)
        elif event.key in {"home", "g"}:
            self._body.scroll_home(animate=False)
        elif event.key in {"end", "G"}:
            self._body.scroll_end(animate=False)
        elif event.key in steps:
            self._body.scroll_relative(y=steps[event.key], animate=False)
