"""A list to choose from by typing a few letters: palette, models, modes, files, devices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs
from rich.text import Text
from textual import events
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from builderos.terminal.draw.lines import flat
from builderos.terminal.widgets.bar import Bar

__all__ = ["Picker", "PickerRow", "prompt", "ranked"]

MOST: Final = 300
"""Rows that are shown at once."""


@attrs.frozen
class PickerRow:
    """Something to choose. `value` is what the picker returns."""

    name: str
    hint: str = ""
    value: Any = None


def ranked(rows: Sequence[PickerRow], typed: str) -> list[PickerRow]:
    """Return the rows that have all words; those whose name begins with them first."""
    words = typed.lower().split()
    found = [one for one in rows if all(word in f"{one.name} {one.hint}".lower() for word in words)]
    first = " ".join(words)
    return sorted(found, key=lambda one: not one.name.lower().startswith(first))[:MOST]


def prompt(row: PickerRow) -> Text:
    """Return how a row looks."""
    text = Text(flat(row.name), no_wrap=True, overflow="ellipsis")
    return text.append(f"  {flat(row.hint)}", "dim") if row.hint else text


class Picker(ModalScreen[Any]):
    """Returns the value of the chosen row; None if the person leaves."""

    CSS = """
    Picker { align: center top; }
    Picker Vertical { width: 90%; max-width: 100; height: auto; max-height: 80%; margin-top: 2; border: round $accent;
        background: $surface; }
    Picker Input { border: none; height: 1; }
    Picker OptionList { border: none; height: auto; max-height: 100%; background: transparent; }
    """

    def __init__(
        self,
        title: str,
        rows: Sequence[PickerRow],
        *,
        search: Callable[[str], Awaitable[Sequence[PickerRow]]] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._rows, self._search = title, list(rows), search
        self._shown: list[PickerRow] = []
        self._input = Input(placeholder="type to search", compact=True)
        self._input.cursor_blink = False
        self._list = OptionList(markup=False, compact=True)
        self._list.can_focus = False

    def compose(self) -> Any:
        bar = Bar()
        bar.say(Text(f"{flat(self._title)} · enter chooses, esc leaves", "dim"))
        with Vertical():
            yield bar
            yield self._input
            yield self._list

    def on_mount(self) -> None:
        self._input.focus()
        self._fill(ranked(self._rows, ""))

    def _fill(self, rows: Sequence[PickerRow]) -> None:
        self._shown = list(rows)
        self._list.clear_options()
        self._list.add_options(
            [Option(prompt(one)) for one in rows] or [Option(Text("nothing found", "dim"), disabled=True)]
        )
        if rows:
            self._list.highlighted = 0

    async def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._search is not None:
            found = await self._search(event.value)
            if event.value == self._input.value:
                self._fill(list(found)[:MOST])
        else:
            self._fill(ranked(self._rows, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._choose(self._list.highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._choose(event.option_index)

    def _choose(self, at: int | None) -> None:
        if at is not None and at < len(self._shown):
            self.dismiss(self._shown[at].value)

    def on_key(self, event: events.Key) -> None:
        moves: dict[str, Callable[[], None]] = {
            "up": self._list.action_cursor_up,
            "down": self._list.action_cursor_down,
            "pageup": self._list.action_page_up,
            "pagedown": self._list.action_page_down,
        }
        if event.key in {"escape", "ctrl+c"}:
            event.stop()
            self.dismiss(None)
        elif event.key in moves:
            event.stop()
            moves[event.key]()
