"""The full-screen program: its screens, its colours, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from textual.app import App
from textual.driver import Driver
from textual.screen import Screen

from builderos.terminal.client import Client
from builderos.terminal.draw.lines import flat
from builderos.terminal.first import FirstPicture

__all__ = ["TerminalApp", "pause_s"]

DRAW_S: Final = 1 / 60
"""The time from one drawing to the next: a screen shows no more."""

SHARE: Final = 3
"""A drawing takes at most one of so many parts of the time, so that a busy machine has time for what it draws."""

LONGEST_S: Final = 0.1
"""But no drawing is put off for longer because the last one took long."""

SAID_S: Final = 6.0
"""How long a line for the person stays."""

HELD_S: Final = 0.5
"""How long the first picture may stand."""


class TerminalApp(App[str]):
    """Its result is an error text; none if it just ended."""

    CSS = """
    Screen { background: ansi_default; }
    Toast { width: auto; max-width: 80%; padding: 0 1; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = []  # noqa: RUF012 - Textual's own form

    def __init__(
        self, client: Client, driver: type[Driver] | None = None, first: FirstPicture | None = None
    ) -> None:
        super().__init__(driver_class=driver, ansi_color=True)
        self.client, self.first = client, first
        self._is_held = first is not None and first.is_shown
        self.animation_level = "none"
        settings = client.keep.settings()
        self.theme = "ansi-light" if settings.get("colours") == "light" else "ansi-dark"
        self.has_mouse = settings.get("mouse") is not False
        self.seen: dict[str, set[str]] = {}
        self._due: asyncio.TimerHandle | None = None
        self._drew_at = self._drew_for_s = 0.0

    # ---- the client's view: called from the task of the wire, so all of it is passed on to the app's own ----

    def changed(self, *, at_once: bool = False) -> None:
        """Draw what is new: now, or once the last drawing is old enough for what it took."""
        if not self.is_running or (self._due is not None and not at_once):
            return
        if self._due is not None:
            self._due.cancel()
        loop = asyncio.get_running_loop()
        when = loop.time() if at_once else max(loop.time(), self._drew_at + pause_s(self._drew_for_s))
        self._due = loop.call_at(when, self.call_later, self._draw)

    def _draw(self) -> None:
        loop = asyncio.get_running_loop()
        self._due, self._drew_at = None, loop.time()
        screens = [one for one in self.screen_stack if hasattr(one, "changed")] if self.is_running else []
        for screen in screens[-1:]:
            screen.changed()
            screen.call_after_refresh(self.client.drawn)
        self._drew_for_s = loop.time() - self._drew_at

    def say(self, text: str, for_s: float = SAID_S) -> None:
        """Show a line for a moment."""
        self.call_later(self.notify, flat(text)[:500], timeout=for_s, markup=False)

    def refused(self, session_id: str, text: str) -> None:
        """Leave a session that the server refuses."""
        self.call_later(self._refused, text)

    def _refused(self, text: str) -> None:
        if len(self.screen_stack) > 1 and self._came_from_list:
            self.say(text)
            self.show_list()
        else:
            self.exit(f"the server refuses: {text}")

    def _fatal_error(self) -> None:
        """End after an unexpected error. Textual would print the values of all variables, the key among them."""
        self._close_messages_no_wait()

    @property
    def failure(self) -> Exception | None:
        """The unexpected error that ended the program."""
        return self._exception

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        if not self._is_held:
            super()._display(screen, renderable)

    def release(self) -> None:
        """Draw from now on: until then the first picture stands, which has more to show than empty widgets."""
        if self._is_held:
            self._is_held = False
            self.screen.refresh(repaint=True, layout=True)

    def take_keys(self) -> None:
        """Begin to read keys, also those that were pressed before."""
        take = getattr(self._driver, "take_keys", None)
        if take is not None:
            take()

    # ---- screens ----

    _came_from_list = False

    def on_mount(self) -> None:
        self.call_after_refresh(_begin_collecting)
        if self._is_held:
            self.set_timer(HELD_S, self.release)
        if self.client.conversation is not None:
            self.push_screen(self._session())
        else:
            self.show_list()

    def _session(self) -> Screen[None]:
        from builderos.terminal.screens.session import SessionScreen

        return SessionScreen(self.client)

    def open(
        self,
        session_id: str,
        *,
        agent: str | None = None,
        settings: Mapping[str, Any] | None = None,
        text: str = "",
    ) -> None:
        """Go to a session; `text` stands in its box then."""
        self._came_from_list = True
        self._part()
        self.client.open(session_id, agent, settings)
        screen = self._session()
        self._replace(screen)
        if text:
            self.call_after_refresh(screen.composer.put, text)  # type: ignore[attr-defined]

    def show_list(self) -> None:
        """Go to the list of sessions."""
        from builderos.terminal.screens.sessions import SessionsScreen

        self._came_from_list = True
        self._part()
        self.client.close()
        self._replace(SessionsScreen(self.client))

    def _replace(self, screen: Screen[None]) -> None:
        while len(self.screen_stack) > 2:
            self.pop_screen()
        if len(self.screen_stack) == 2:
            self.switch_screen(screen)
        else:
            self.push_screen(screen)

    def leave(self) -> None:
        """End; the session continues."""
        self._part()
        self.exit()

    def _part(self) -> None:
        """Leave what a session is owed before it goes off the screen."""
        for screen in self.screen_stack:
            part = getattr(screen, "part", None)
            if part is not None:
                part()

    # ---- colours and keys ----

    @property
    def code_style(self) -> str:
        """The colours of code."""
        return "ansi_light" if self.theme == "ansi-light" else "ansi_dark"

    def set_colours(self, name: str) -> None:
        """Change the colours, also of later runs."""
        self.theme = f"ansi-{name}"
        self.client.keep.set(colours=name)
        transcript = getattr(self.screen, "transcript", None)
        if transcript is not None:
            transcript.set_look(code_style=self.code_style)

    def set_mouse(self, on: bool) -> None:
        """Turn the mouse on or off, also of later runs."""
        self.has_mouse = on
        self.client.keep.set(mouse=on)
        driver: Any = self._driver
        if driver is not None and not driver.is_headless:
            driver._mouse = True
            driver._enable_mouse_support() if on else driver._disable_mouse_support()
            driver._mouse = on
        self.say("The mouse is on." if on else "The mouse is off: the terminal selects text itself.")

    def now_s(self) -> float:
        """Return a clock for keys."""
        return time.monotonic()

    # ---- the terminal ----

    def was_stopped(self) -> None:
        """Continue after SIGSTOP: draw everything again, and doubt the connection."""
        self.client.wire.wake()
        self.refresh(repaint=True, layout=True)
        self.screen.refresh(repaint=True, layout=True)

    def terminal_is_gone(self) -> None:
        """End after a hang-up: what waits is on disk."""
        self.leave()

    def edit(self, text: str) -> str | None:
        """Let the person edit a text in an editor of their own; None if that failed."""
        command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
        handle, name = tempfile.mkstemp(suffix=".md", prefix="builderos-")
        path = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            with self.suspend():
                done = subprocess.run([*command, name], check=False)
            return path.read_text(encoding="utf-8").rstrip("\n") if done.returncode == 0 else None
        except (OSError, ValueError) as error:
            self.say(f"The editor {command[0] if command else ''} did not run: {error}")
            return None
        finally:
            with suppress(OSError):
                path.unlink()
            self.client.wire.wake()


def pause_s(took_s: float) -> float:
    """Return the time from the beginning of a drawing that took so long to the next one."""
    return max(DRAW_S, min(SHARE * took_s, LONGEST_S))


def _begin_collecting() -> None:
    """Let Python look for garbage from now on, but not among what the start has loaded."""
    gc.freeze()
    gc.enable()
