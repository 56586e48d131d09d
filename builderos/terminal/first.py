"""The history, drawn before Textual is there: to load that takes longer than all the rest of a start.

It is the same drawing at the same place, and `Terminal` takes the screen over as it is, so only the colours of code are
seen to come.
"""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from builderos.terminal.draw.lines import Segments
    from builderos.terminal.model.conversation import ConversationModel

__all__ = ["ALTERNATE", "FirstPicture"]

ALTERNATE: Final = "\x1b[?1049h"
"""Takes the terminal's other screen. Some terminals clear it then, also if they show it already."""

BELOW: Final = 4
"""Lines below the conversation: the box for text and the status."""

BESIDE: Final = 3
"""Columns beside it: a blank on both sides, and where one has scrolled to."""

ROUNDS: Final = 8
"""Times that heights are corrected."""


class FirstPicture:
    """What is on the terminal before Textual is. It leaves the terminal as it was, unless somebody takes it over.

    Args:
        environment: with `NO_COLOR` there are no colours.
        keyboard: the terminal as it is read, and `screen` as it is written to.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        code_style: str = "ansi_dark",
        keyboard: int = 0,
        screen: int = 1,
    ) -> None:
        self._has_colours = not environment.get("NO_COLOR")
        self._mode: list[Any] | None = None
        self._keyboard, self._screen = keyboard, screen

    @property
    def is_shown(self) -> bool:
        """Whether it is on the terminal, and is not taken over yet."""
        return self._mode is not None

    def show(self, conversation: ConversationModel) -> None:
        """Draw the end of a conversation. Does nothing without one, or without a terminal."""
        with suppress(OSError, termios.error):
            width, height = os.get_terminal_size(self._screen)
            lines = self._lines(conversation, width, height - BELOW)
            if lines:
                self._mode = termios.tcgetattr(self._keyboard)
                quiet = termios.tcgetattr(self._keyboard)
                quiet[3] &= ~(termios.ECHO | termios.ICANON)  # what is typed already is for the box
                termios.tcsetattr(self._keyboard, termios.TCSANOW, quiet)
                self._write(f"{ALTERNATE}\x1b[?25l\x1b[?2026h\x1b[2J{self._placed(lines)}\x1b[?2026l")

    def take_over(self) -> list[Any] | None:
        """Return the mode that the terminal had before; setting it back is the caller's business from now on."""
        mode, self._mode = self._mode, None
        return mode

    def end(self) -> None:
        """Leave the terminal as it was, unless it is taken over."""
        mode = self.take_over()
        if mode is not None:
            with suppress(OSError, termios.error):
                termios.tcsetattr(self._keyboard, termios.TCSANOW, mode)
                self._write("\x1b[?1049l\x1b[?25h")

    def die(self, number: int) -> None:
        """End this process by a signal."""
        self.end()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _lines(self, conversation: ConversationModel, width: int, height: int) -> list[Segments]:
        if width <= BESIDE or height <= 0 or not conversation.timeline.entries:
            return []
        from builderos.client.machines import wait_words
        from builderos.terminal.draw.entry import EntryLook, Pen
        from builderos.terminal.draw.layout import Layout

        # of its own: what is taken up here must still be new for the screen
        waits = wait_words(conversation.machine)
        pen = Pen(conversation.name_of, lambda: conversation.workspace, lambda: waits)
        layout = Layout(conversation.timeline, pen)
        dirty = set(conversation.timeline.dirty)
        layout.update(EntryLook(max(10, width - BESIDE), code_style=""))
        conversation.timeline.dirty |= dirty
        for _ in range(ROUNDS):
            if not layout.settle(layout.total - height, layout.total):
                break
        return [layout.line(line) for line in range(max(0, layout.total - height), layout.total)]

    def _placed(self, lines: list[Segments]) -> str:
        from rich.color import ColorSystem
        from rich.style import Style

        system = ColorSystem.STANDARD if self._has_colours else None
        plain = Style.null()
        return "".join(
            f"\x1b[{row};2H"
            + "".join((one.style or plain).render(one.text, color_system=system) for one in line)
            for row, line in enumerate(lines, 1)
        )

    def _write(self, text: str) -> None:
        rest = text.encode("utf-8", "replace")
        while rest:
            rest = rest[os.write(self._screen, rest) :]
