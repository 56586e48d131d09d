"""The lines that a person or a script types."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

import attrs
import trio

__all__ = ["LineReader", "Lines", "open_keyboard"]

READ_BYTES = 4096
"""Bytes of one read from the keyboard: a terminal returns no longer line."""

MAX_LINE_BYTES = 256 * 1024
"""A longer line is cut here; the server accepts no longer message."""

Completions = Callable[[str], list[str]]
"""Returns what the last word of a line may become. Called on a thread."""


class Lines(Protocol):
    """Where lines come from."""

    async def next_line(self) -> str | None:
        """Return the next line, without its end; None at the end of input. Cancelled, it may lose input."""
        ...


@attrs.define(eq=False)
class LineReader:
    """Lines from a descriptor.

    Does not use `sys.stdin`: a thread that waits inside its buffer would hold a lock that the interpreter needs to
    exit. This thread can be left behind.
    """

    descriptor: int
    _lines: deque[bytes] = attrs.field(factory=deque)
    _rest: bytes = b""
    _ended: bool = False

    async def next_line(self) -> str | None:
        """Return the next line, without its end; None at the end of input. A cancelled call may lose input."""
        await trio.lowlevel.checkpoint()
        while not self._lines and not self._ended:
            await self._fill()
        return self._lines.popleft().decode(errors="replace").rstrip("\r") if self._lines else None

    async def _fill(self) -> None:
        chunk = await trio.to_thread.run_sync(os.read, self.descriptor, READ_BYTES, abandon_on_cancel=True)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(lines)
        self._ended = not chunk
        if self._rest and (self._ended or len(self._rest) > MAX_LINE_BYTES):
            self._lines.append(self._rest)
            self._rest = b""


@attrs.define(eq=False)
class _EditedLines:
    """Lines of a terminal, which the person edits, recalls and completes with the readline library."""

    is_over: bool = False

    async def next_line(self) -> str | None:
        return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    def _read(self) -> str | None:
        if self.is_over:
            return None
        try:
            return input()[:MAX_LINE_BYTES]
        except (EOFError, OSError, ValueError):  # the terminal is gone
            return None


@contextmanager
def open_keyboard(descriptor: int, completions: Completions) -> Iterator[Lines]:
    """Give the lines of a descriptor; of a terminal that can, with completion by Tab. Restores the terminal."""
    can_edit = descriptor == 0 and os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") != "dumb"
    if not can_edit:
        yield LineReader(descriptor)
        return
    try:
        import readline
        import termios
    except ImportError:
        yield LineReader(descriptor)
        return
    _set_up(readline, completions)
    before = termios.tcgetattr(descriptor)
    lines = _EditedLines()
    try:
        yield lines
    finally:
        lines.is_over = True
        readline.set_completer(None)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)  # the thread that reads is left behind


def _set_up(readline: ModuleType, completions: Completions) -> None:
    def complete(word: str, number: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = completions(line)
        return found[number] if number < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(complete)
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
    if not is_libedit:
        readline.parse_and_bind("set enable-bracketed-paste off")  # whoever is left behind could not end it
