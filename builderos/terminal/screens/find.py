"""Finds a text in the conversation, from the newest place to older ones, and loads what is not there yet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

from builderos.terminal.model.entries import AnswerEntry, Entry, MessageEntry, TextPart
from builderos.terminal.widgets.work import begin

if TYPE_CHECKING:
    from builderos.terminal.screens.session import SessionScreen

__all__ = ["Finder", "find"]

MAX_PAGES: Final = 40
"""Pages of older history that one search loads: 2,000 entries."""


@attrs.define(eq=False)
class Finder:
    """The last search of a screen."""

    screen: SessionScreen
    _text: str = ""
    _found: Entry | None = None

    def again(self) -> None:
        """Go to the place before the last one; ask for a text if none was searched for."""
        if self._text:
            begin(self.screen, self._go, "find", instead=True)
        else:
            self.screen.want("Find", "", self.begin)

    def begin(self, text: str) -> None:
        """Search for a text from the end on; an empty text ends the search."""
        self._text, self._found = text, None
        if text:
            self.again()

    async def _go(self) -> None:
        screen, wanted = self.screen, self._text
        for _ in range(MAX_PAGES):
            timeline = screen.conversation.timeline
            entries = timeline.entries
            if self._found is not None:
                entries = entries[: timeline.index(self._found)]
            found = next((one for one in reversed(entries) if _has(one, wanted)), None)
            if found is not None:
                self._found = found
                screen.transcript.show(found, wanted)
                screen.app.say("ctrl+f goes to the place before; /find searches for something else.")
                return
            first = timeline.first_seq
            if first <= 1:
                break
            await screen.client.load_older()
            if screen.conversation.timeline.first_seq == first:
                screen.app.say("Can't load what was before; try again.")
                return
        words = "There is no place before." if self._found is not None else f"Not found: {wanted[:60]}"
        self._text, self._found = "", None
        screen.app.say(words)


def find(screen: SessionScreen, rest: str) -> None:
    """Go to the newest place that has a text."""
    if rest:
        screen.finder.begin(rest)
    else:
        screen.want("Find", "", screen.finder.begin)


def _has(entry: Entry, text: str) -> bool:
    if isinstance(entry, MessageEntry):
        found = entry.text
    elif isinstance(entry, AnswerEntry):
        found = "\n".join(
            part.text for part in entry.parts if isinstance(part, TextPart) and part.kind == "text"
        )
    else:
        found = entry.line.text
    return _folded(text) in _folded(found)


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text).casefold()
