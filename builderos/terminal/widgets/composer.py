"""Where a person writes: several lines, history, long pastes as one mark, completion of `@` and `/`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea

from builderos.client.terminal import sanitise

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp

__all__ = ["Composer"]

LONG_PASTE: Final = 2_000
LONG_PASTE_LINES: Final = 20
"""A paste beyond this stands as one mark in the box, and whole in what is sent."""

_MARK: Final = re.compile(r"\[Pasted text #(\d+): [\d,]+ (?:characters|lines)\]")

_WORD: Final = re.compile(r"(?:^|\s)([@/][^\s]*)$")


class Composer(TextArea):
    """The box for text. What to do with it is the screen's business."""

    DEFAULT_CSS = """
    Composer { height: auto; max-height: 12; min-height: 3; border: round $primary; padding: 0 1; background: transparent;
        scrollbar-size-vertical: 1; }
    Composer:focus { border: round $accent; }
    """

    app: TerminalApp

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("shift+enter,alt+enter,ctrl+j", "new_line", show=False),
        Binding("ctrl+w", "delete_word_left", show=False),
        Binding("pageup", "screen.page(-1)", show=False),
        Binding("pagedown", "screen.page(1)", show=False),
    ]

    class Sent(Message):
        """A person pressed Enter."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Typed(Message):
        """The text changed; `word` is an `@` or `/` word before the cursor, or empty."""

        def __init__(self, text: str, word: str) -> None:
            super().__init__()
            self.text, self.word = text, word

    def __init__(self, history: Callable[[], Sequence[str]]) -> None:
        super().__init__(
            "", soft_wrap=True, show_line_numbers=False, compact=False, highlight_cursor_line=False
        )
        self.cursor_blink = False  # a blinking cursor draws for ever
        self._history = history
        self._at: int | None = None
        self._saved = ""
        self._pastes: dict[str, str] = {}
        self.last_key_at = 0.0
        self.completing: Callable[[events.Key], bool] = lambda event: False

    @property
    def whole(self) -> str:
        """The text with all that was pasted."""
        return _MARK.sub(lambda found: self._pastes.get(found[0], found[0]), self.text)

    def put(self, text: str) -> None:
        """Put another text into the box."""
        self._at = None
        if len(text) > LONG_PASTE * 4:
            text = self._marked(text)
        self.load_text(text)
        self.move_cursor(self.document.end)

    def clear_all(self) -> None:
        """Empty the box after its text was sent."""
        self._pastes.clear()
        self.put("")

    def complete(self, word: str, replacement: str) -> None:
        """Replace the word before the cursor."""
        row, column = self.cursor_location
        self.replace(replacement, (row, max(0, column - len(word))), (row, column))

    async def _on_key(self, event: events.Key) -> None:
        self.last_key_at = self.app.now_s()
        if self.completing(event):
            event.prevent_default()
            event.stop()
        elif event.key == "enter":
            event.prevent_default()
            event.stop()
            self._enter()
        elif (event.key == "up" and self.cursor_at_first_line and self._step(-1)) or (
            event.key == "down" and self.cursor_at_last_line and self._step(1)
        ):
            event.prevent_default()
            event.stop()
        elif event.key in {"escape", "tab", "shift+tab"}:
            event.prevent_default()  # the screen's

    def _enter(self) -> None:
        row, column = self.cursor_location
        if column and self.document.get_line(row)[column - 1] == "\\":
            self.replace("\n", (row, column - 1), (row, column))
        else:
            self.post_message(self.Sent(self.whole))

    def action_new_line(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        text = sanitise(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if len(text) > LONG_PASTE or text.count("\n") > LONG_PASTE_LINES:
            text = self._marked(text)
        self.insert(text)

    def _marked(self, text: str) -> str:
        lines = text.count("\n") + 1
        count = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        mark = f"[Pasted text #{len(self._pastes) + 1}: {count}]"
        self._pastes[mark] = text
        return mark

    def _step(self, by: int) -> bool:
        """Go through what was sent before; tell whether there was a step to take."""
        history = self._history()
        at = len(history) if self._at is None else self._at
        if not 0 <= at + by <= len(history) or (self._at is None and by > 0):
            return False
        if self._at is None:
            self._saved = self.text
        at += by
        self.put(self._saved if at == len(history) else history[at])
        self._at = None if at == len(history) else at
        return True

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        row, column = self.cursor_location
        found = _WORD.search(self.document.get_line(row)[:column])
        word = found[1] if found else ""
        if word.startswith("/") and (row, column) != (0, len(word)):
            word = ""
        self.post_message(self.Typed(self.text, word))
