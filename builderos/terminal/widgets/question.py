"""The panel of a question. Single keys answer it, and only while it has the focus: what a person types decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.containers import Vertical
from textual.message import Message

from builderos.terminal.draw.diff import diff_lines
from builderos.terminal.draw.lines import Segments, flat, paragraph
from builderos.terminal.widgets.bar import Bar
from builderos.terminal.widgets.viewer import Lines

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp
    from builderos.terminal.model.asking import Asking, Wish

__all__ = ["Question"]

GRACE_S: Final = 0.4
"""A key that comes earlier than this after the panel took the focus was meant for something else."""


class Question(Vertical, can_focus=True):
    """Shows one request, or nothing."""

    DEFAULT_CSS = """
    Question { height: auto; max-height: 60%; border: round $warning; padding: 0 1; display: none; }
    Question:focus { border: round $accent; }
    Question Lines { height: auto; max-height: 100%; }
    Question Bar { height: auto; text-wrap: wrap; padding: 0; }
    """

    class Decided(Message):
        """A key gave an answer."""

        def __init__(self, request_id: str, fields: dict[str, Any]) -> None:
            super().__init__()
            self.request_id, self.fields = request_id, fields

    class Wants(Message):
        """A key needs more of the person first."""

        def __init__(self, asking: Asking, wish: Wish) -> None:
            super().__init__()
            self.asking, self.wish = asking, wish

    class Left(Message):
        """The person goes back to the composer; `text` is what they typed."""

        def __init__(self, text: str | None = None) -> None:
            super().__init__()
            self.text = text

    app: TerminalApp

    grace_s = GRACE_S
    is_view_only = False

    def __init__(self) -> None:
        super().__init__()
        self.asking: Asking | None = None
        self._answered = False
        self._agent, self._count = "", 0
        self._since = 0.0
        self._head, self._body, self._keys = Bar(), Lines(), Bar()

    def compose(self) -> Any:
        yield self._head
        yield self._body
        yield self._keys

    def show(self, asking: Asking | None, agent: str, count: int) -> None:
        """Show a request; `count` is how many wait."""
        self._agent, self._count = agent, count
        if asking is not None and self.asking is not None and asking.request_id == self.asking.request_id:
            return
        self.asking, self._answered = asking, False
        self._since = self.app.now_s()
        self.display = asking is not None
        self.redraw()

    def redraw(self) -> None:
        """Draw the request again."""
        asking = self.asking
        if asking is None:
            return
        # the keys must stay on the screen, however long the request is
        self._body.styles.max_height = max(3, self.app.size.height * 6 // 10 - 6)
        head = Text(flat(asking.title(self._agent)), "bold")
        if self._count > 1:
            head.append(f" · 1 of {self._count}", "dim")
        self._head.say(head)
        self._body.set(lambda width: _lines(asking, width))
        keys = Text()
        if self.is_view_only:
            keys.append("View only: this device can't approve.", "dim")
        for key, meaning in () if self.is_view_only else asking.keys:
            keys.append(f" {key} ", "bold reverse").append(f" {flat(meaning)}  ")
        if not asking.asked.is_whole and not asking.questions:
            keys.append("It is too long to show here: allow it on another device.", "yellow")
        keys.append(" esc  back to the text" if self.has_focus else " tab  answer", "dim")
        self._keys.say(keys)

    def on_focus(self, event: events.Focus) -> None:
        self._since = self.app.now_s()
        self.call_later(self.redraw)

    def on_blur(self) -> None:
        self.call_later(self.redraw)

    def on_key(self, event: events.Key) -> None:
        if self.asking is None:
            return
        if event.key in {"escape", "tab", "shift+tab"}:
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
        elif event.key in {"up", "down", "pageup", "pagedown"}:
            event.stop()
            step = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10}[event.key]
            self._body.scroll_relative(y=step, animate=False)
        elif event.key == "enter" or (event.is_printable and event.character):
            event.stop()
            self._press(self.asking, event)

    def _press(self, asking: Asking, event: events.Key) -> None:
        key = event.character.lower() if event.is_printable and event.character else event.key
        if self.is_view_only or self._answered or (key != "enter" and not asking.knows(key)):
            # a person who writes a message, or begins to
            self.post_message(self.Left(event.character if event.is_printable else None))
            return
        if self.app.now_s() - self._since < self.grace_s:
            return
        given = asking.press(key)
        if isinstance(given, dict):
            self._answered = True
            self.post_message(self.Decided(asking.request_id, given))
        elif given is not None:
            self.post_message(self.Wants(asking, given))
        self.redraw()

    def reopen(self) -> None:
        """Take keys again: the answer was refused."""
        self._answered = False


def _lines(asking: Asking, width: int) -> list[Segments]:
    lines: list[Segments] = []
    if asking.questions:
        asked = asking.questions[asking.at]
        lines += paragraph(str(asked.get("question") or ""), width, Style(bold=True))
        for number, one in enumerate(asking.choices, 1):
            mark = "✔" if one.label in asking.chosen else str(number)
            lines += paragraph(one.label, width, first=Segment(f" {mark} ", Style(bold=True)))
            if one.about:
                lines += paragraph(one.about, width, Style(dim=True), first=Segment("   "))
        return lines
    title = str(asking.body.get("title") or "")
    if title:
        lines += paragraph(title, width, Style(dim=True))
    for line in asking.asked.lines:
        lines += paragraph(line, width)
    diff = asking.body.get("diff")
    if isinstance(diff, list):
        lines += diff_lines([one for one in diff if isinstance(one, dict)], width)
    if asking.asked.grant:
        lines += paragraph("a allows, for this session:", width, Style(dim=True))
        for line in asking.asked.grant:
            lines += paragraph(line, width, Style(dim=True))
    return lines
