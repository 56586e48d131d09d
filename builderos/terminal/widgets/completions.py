"""What the word before the cursor may become: files for `@`, commands for `/`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from textual import events
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from builderos.terminal.widgets.picker import PickerRow, prompt
from builderos.terminal.widgets.work import begin

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["Completions"]

MOST = 50
"""Rows that are offered; more letters make them fewer."""


class Completions(OptionList, can_focus=False):
    """A small list above the composer; Tab or Enter takes the row, Escape closes it."""

    DEFAULT_CSS = "Completions { height: auto; max-height: 8; display: none; border: none; padding: 0 1; }"

    class Chosen(Message):
        """A row was taken for the word."""

        def __init__(self, word: str, replacement: str) -> None:
            super().__init__()
            self.word, self.replacement = word, replacement

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._word = ""
        self._rows: list[PickerRow] = []
        self._turned_down = ""

    def look(self, screen: SessionScreen, word: str) -> None:
        """Offer what fits a word; nothing for an empty one."""
        self._word = word
        if not word or word == self._turned_down or screen.wanted is not None:
            self._offer([])
        elif word.startswith("/"):
            self._offer(_commands(screen, word))
        else:
            begin(screen, partial(self._files, screen, word), "files", instead=True)

    async def _files(self, screen: SessionScreen, word: str) -> None:
        await asyncio.sleep(0.08)  # a person who types on makes the next search
        query: Any = {"q": word[1:]} if len(word) > 1 else {"path": ""}
        found = await screen.client.of_session(f"files?{urlencode(query)}")
        if word == self._word:
            entries = [one for one in found.get("entries") or () if isinstance(one, dict)]
            names = [
                str(one.get("path") or one.get("name")) + ("/" if one.get("kind") == "folder" else "")
                for one in entries
            ]
            self._offer(
                [PickerRow(f"@{name}", value=f"@{name} ") for name in names[:MOST] if name.isprintable()]
            )

    def _offer(self, rows: list[PickerRow]) -> None:
        self._rows = rows
        self.display = bool(rows)
        self.clear_options()
        if rows:
            self.add_options([Option(prompt(one)) for one in rows])
            self.highlighted = 0

    def take(self, event: events.Key) -> bool:
        """Take a key of the composer; tell whether it was for this list."""
        if not self.display:
            return False
        if event.key == "escape":
            self._turned_down = self._word
            self._offer([])
        elif event.key == "up":
            self.action_cursor_up()
        elif event.key == "down":
            self.action_cursor_down()
        elif event.key == "tab" or (event.key == "enter" and not self._is_whole()):
            row = self._rows[self.highlighted or 0]
            self.post_message(self.Chosen(self._word, row.value))
            self._turned_down = row.value.strip()
            self._offer([])
        else:
            return False
        return True

    def _is_whole(self) -> bool:
        """Return whether the word is a command already, which Enter then runs."""
        return self._word.startswith("/") and any(row.value.strip() == self._word for row in self._rows)


def _commands(screen: SessionScreen, word: str) -> list[PickerRow]:
    from builderos.terminal.screens.commands import BY_SLASH

    own = [PickerRow(slash, command.name, f"{slash} ") for slash, command in BY_SLASH.items()]
    agents = [
        PickerRow(f"/{name}", about, f"/{name} ")
        for name, about in screen.conversation.steering.commands
        if name.isprintable() and f"/{name}" not in BY_SLASH
    ]
    return [one for one in [*own, *agents] if one.name.startswith(word)][:MOST]
