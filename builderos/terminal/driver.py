"""Keyboard and screen of a terminal: Textual's driver, with seven differences.

It sleeps until a key comes, where the original wakes ten times a second. A long paste is handed over at once, not letter by
letter. A terminal that is gone ends the program, where the original reads for ever. After SIGSTOP and SIGCONT it sets the
terminal's mode again, where the original starts a second reader of the keyboard. The first picture, which is on the
terminal already, stays there. Keys that are pressed before there is a box wait for it, where the original drops them. A
picture goes to the thread that writes as a whole, where the original wakes it for the beginning, the middle and the end.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING, Any, Final, cast

from textual import events
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

from builderos.terminal.first import ALTERNATE

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp

__all__ = ["Pastes", "Terminal"]

READ_BYTES: Final = 64 * 1024

ESCAPE_S: Final = 0.05
"""How long the rest of an escape sequence may take; then it was the key Escape."""

PASTE_BEGIN: Final = "\x1b[200~"
PASTE_END: Final = "\x1b[201~"

MAX_PASTE: Final = 4 * 1024 * 1024
"""Characters of a paste that are kept. A message has at most 256 KiB."""


class Terminal(LinuxDriver):
    """The driver of a `TerminalApp`."""

    def __init__(self, app: Any, **how: Any) -> None:
        super().__init__(app, **how)
        self._file = cast("Any", _Output())
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        self._is_suspended = self._is_on = False
        self._may_read = Event()
        self._picture = ""

    @property
    def app(self) -> TerminalApp:
        """The program."""
        return cast("TerminalApp", self._app)

    def start_application_mode(self) -> None:
        first = self.app.first
        self._is_on = first is not None and first.is_shown
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if first is not None and first.is_shown:
            self.attrs_before = first.take_over()
        self._is_on = False

    def write(self, data: str) -> None:
        if self._is_on and data == ALTERNATE:
            return
        if data == SYNC_START or self._picture:
            self._picture += data
            if data != SYNC_END:
                return
            data, self._picture = self._picture, ""
        super().write(data)

    def suspend_application_mode(self) -> None:
        self._is_suspended = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        self._is_suspended = False
        super().resume_application_mode()

    def _sigcont_application(self, *_: object) -> None:
        if self._is_suspended:
            super()._sigcont_application()
        elif self._writer_thread is not None:
            self._app.call_later(self._again)

    def _again(self) -> None:
        """Take the terminal again: while we were stopped, a shell may have used it."""
        with suppress(termios.error):
            mode = termios.tcgetattr(self.fileno)
            mode[tty.LFLAG] = self._patch_lflag(mode[tty.LFLAG])
            mode[tty.IFLAG] = self._patch_iflag(mode[tty.IFLAG])
            termios.tcsetattr(self.fileno, termios.TCSANOW, mode)
        self.write(f"{ALTERNATE}\x1b[?25l")
        self._enable_bracketed_paste()
        self._enable_mouse_support()
        self.flush()
        self.app.was_stopped()

    def take_keys(self) -> None:
        """Begin to read keys: there is somebody to take them."""
        self._may_read.set()

    def disable_input(self) -> None:
        self._may_read.set()
        with suppress(OSError):
            os.write(self._wake_writer, b"x")
        super().disable_input()

    def stop_application_mode(self) -> None:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # in the background the mode may still be set back
        try:
            super().stop_application_mode()
        finally:
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)

    def run_input_thread(self) -> None:
        """Read keys until `exit_event` is set or the terminal is gone."""
        self._may_read.wait()
        parser = XTermParser(self._debug)
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        pastes = Pastes()
        with suppress(BlockingIOError):
            os.read(self._wake_reader, READ_BYTES)  # of an earlier end
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            selector.register(self._wake_reader, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                is_begun = bool(pastes.held) or parser._timeout_time is not None
                ready = [key.fd for key, _ in selector.select(ESCAPE_S if is_begun else None)]
                data = self._read() if self.fileno in ready else None
                if data == b"":
                    self._app.call_later(self.app.terminal_is_gone)
                    return
                parts = [(pastes.flush(), False)] if data is None else list(pastes.feed(decode(data)))
                for text, is_paste in parts:
                    events_ = [events.Paste(text)] if is_paste else parser.feed(text) if text else ()
                    for event in events_:
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, READ_BYTES)
        except OSError:
            return b""


class _Output:
    """Standard output (the original takes standard error, which may be a file). One that is gone raises nothing: the
    thread that writes must live until the program has ended."""

    encoding = "utf-8"

    def __init__(self) -> None:
        assert sys.__stdout__ is not None
        self._output = sys.__stdout__

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._output.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._output.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._output.fileno()


class Pastes:
    """Cuts pastes out of what was read. Pure.

    Attributes:
        held: the end of what was read, if it may be the beginning of a mark.
    """

    def __init__(self) -> None:
        self.held = ""
        self._inside = False
        self._parts: list[str] = []
        self._size = 0

    def feed(self, text: str) -> Iterator[tuple[str, bool]]:
        """Give the parts of what was read, and whether each was pasted."""
        rest, self.held = self.held + text, ""
        while rest:
            mark = PASTE_END if self._inside else PASTE_BEGIN
            before, found, after = rest.partition(mark)
            if not found:
                kept = _overlap(rest, mark)
                before, self.held = rest[: len(rest) - kept], rest[len(rest) - kept :]
            if self._inside:
                self._keep(before)
            elif before:
                yield before, False
            if found and self._inside:
                yield "".join(self._parts), True
                self._parts, self._size = [], 0
            self._inside ^= bool(found)
            rest = after

    def flush(self) -> str:
        """Return what was held: no mark came of it."""
        held = "" if self._inside else self.held
        self.held = self.held[len(held) :]
        return held

    def _keep(self, text: str) -> None:
        self._parts.append(text[: max(0, MAX_PASTE - self._size)])
        self._size += len(text)


def _overlap(text: str, mark: str) -> int:
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)
