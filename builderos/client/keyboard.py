"""Lines from a person or a pipe.

A terminal that hands over whole lines cuts them at 4,095 bytes and makes a message of each line of a paste. So a terminal
hands over each key here, marks where a paste begins and ends (bracketed paste), and the line is edited by `LineEditor`:
what is pasted, whatever its length and lines, is one message.
"""

from __future__ import annotations

import codecs
import os
import re
import termios
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import attrs
import trio

from builderos.client.terminal import sanitise

__all__ = ["MAX_LINE_BYTES", "KeyboardReader", "LineEditor", "LineReader", "keys_one_by_one"]

READ_BYTES = 4096
"""What is read of the keyboard at once."""

MAX_LINE_BYTES = 512 * 1024
"""A longer line is cut there. It is twice what the server takes, so a cut line is refused and never sent in parts."""

PASTE_BEGIN: Final = "\x1b[200~"
PASTE_END: Final = "\x1b[201~"
TELL_PASTES: Final = b"\x1b[?2004h"
TELL_NO_PASTES: Final = b"\x1b[?2004l"

_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|[^\[O])", re.DOTALL)
_BEGUN = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?")
_WIDE = frozenset("WF")
_LF, _TAB = "\n", "\t"
_ERASE, _ERASE_LINE, _ERASE_WORD, _END = ("\x7f", "\x08"), "\x15", "\x17", "\x04"

_ERASED_SHOWN = "^U\n"
"""What stands for the erasing of a line that has wrapped: the cursor does not go back over the end of a row."""

_ROW = 80


@attrs.frozen
class TypedLine:
    """A line that is finished; None: the end of the input."""

    text: str | None


@attrs.define(eq=False)
class LineEditor:
    """The line that is being typed. Pure. `complete` returns what the last word of a line may become."""

    complete: Callable[[str], list[str]] = lambda line: []
    _line: list[str] = attrs.field(factory=list)
    _pending: str = ""
    _is_paste: bool = False
    _decoder: codecs.IncrementalDecoder = attrs.field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def feed(self, data: bytes) -> Iterator[str | TypedLine]:
        """Take what the terminal handed over; give what to show of it, and lines."""
        self._pending += self._decoder.decode(data)
        while self._pending:
            if self._is_paste:
                yield from self._paste()
            elif self._pending[0] != "\x1b":
                key, self._pending = self._pending[0], self._pending[1:]
                yield from self._key(key)
            elif (sequence := _SEQUENCE.match(self._pending)) is not None:
                self._pending = self._pending[sequence.end() :]
                self._is_paste = sequence[0] == PASTE_BEGIN
            elif _BEGUN.fullmatch(self._pending):
                return  # the rest of the key comes with the next read
            else:
                self._pending = self._pending[1:]
            if self._is_paste and (self._pending == "\r" or _is_beginning(self._pending, PASTE_END)):
                return

    def _paste(self) -> Iterator[str]:
        at = self._pending.find(PASTE_END)
        if at >= 0:
            text, self._pending = self._pending[:at], self._pending[at + len(PASTE_END) :]
            self._is_paste = False
        else:
            kept = next(n for n in range(len(PASTE_END), -1, -1) if self._pending.endswith(PASTE_END[:n]))
            if self._pending.endswith("\r"):
                kept = 1  # its line feed may come with the next read
            end = len(self._pending) - kept
            text, self._pending = self._pending[:end], self._pending[end:]
        yield from self._add(text.replace("\r\n", "\n").replace("\r", "\n"))

    def _key(self, key: str) -> Iterator[str | TypedLine]:
        if key in "\r\n":
            text = "".join(self._line)
            self._line.clear()
            yield "\n"
            yield TypedLine(text)
        elif key in _ERASE:
            yield self._erased(1)
        elif key == _ERASE_LINE:
            yield self._erased(len(self._line))
        elif key == _ERASE_WORD:
            kept = "".join(self._line).rstrip()
            yield self._erased(len(self._line) - max(kept.rfind(" "), kept.rfind("\n")) - 1)
        elif key == _END and not self._line:
            yield TypedLine(None)
        elif key == _TAB and (found := self.complete("".join(self._line))):
            yield from self._completed(found)
        elif key == _TAB or unicodedata.category(key) != "Cc":
            yield from self._add(key)

    def _add(self, text: str) -> Iterator[str]:
        room = MAX_LINE_BYTES - len(self._line)
        self._line += text[:room]
        yield sanitise(text[:room])

    def _completed(self, found: list[str]) -> Iterator[str]:
        """Add what all of `found` begin with; show them if that is nothing more."""
        line = "".join(self._line)
        first, last = min(found), max(found)
        shared = next((n for n, one in enumerate(first) if one != last[n : n + 1]), len(first))
        rest = first[len(line.rpartition(" ")[2]) : shared]
        if rest:
            yield from self._add(rest)
        elif len(found) > 1:
            yield f"\n{sanitise('  '.join(found))}\n{sanitise(line)}"

    def _erased(self, count: int) -> str:
        gone = self._line[len(self._line) - count :]
        del self._line[len(self._line) - count :]
        if _LF in gone or len(gone) + len(self._line) > _ROW:
            return _ERASED_SHOWN + sanitise("".join(self._line))
        return "\b \b" * sum(2 if unicodedata.east_asian_width(one) in _WIDE else 1 for one in gone)


def _is_beginning(text: str, whole: str) -> bool:
    return bool(text) and len(text) < len(whole) and whole.startswith(text)


@attrs.define(eq=False)
class KeyboardReader:
    """Lines from a terminal that is in the mode of `keys_one_by_one`. `descriptor`: that terminal.

    `on_key` is called whenever a line grows and is not finished.
    """

    descriptor: int
    _editor: LineEditor = attrs.field(factory=LineEditor)
    _on_key: Callable[[], object] = lambda: None
    _lines: deque[str | None] = attrs.field(factory=deque)

    async def next_line(self) -> str | None:
        """Return the next line, without its end; None at the end of input. Cancelled, it may lose input."""
        await trio.lowlevel.checkpoint()
        while not self._lines:
            data = await trio.to_thread.run_sync(os.read, self.descriptor, READ_BYTES, abandon_on_cancel=True)
            for one in self._editor.feed(data):
                if isinstance(one, TypedLine):
                    self._lines.append(one.text)
                elif one:
                    with suppress(OSError):  # a terminal that only reads shows nothing
                        os.write(self.descriptor, one.encode())
            if data and not self._lines:
                self._on_key()
            if not data:
                self._lines.append(None)
        return self._lines.popleft()


@attrs.define(eq=False)
class LineReader:
    """Lines from a pipe or a file.

    Not through `sys.stdin`: a thread that waits inside its buffer would hold a lock that the interpreter
    needs to end. The thread here is simply left behind.
    """

    descriptor: int
    _lines: deque[bytes] = attrs.field(factory=deque)
    _rest: bytes = b""
    _is_cut: bool = False
    _ended: bool = False

    async def next_line(self) -> str | None:
        """Return the next line, without its end; None at the end of input. Cancelled, it may lose input."""
        await trio.lowlevel.checkpoint()
        while not self._lines and not self._ended:
            await self._fill()
        return self._lines.popleft().decode(errors="replace").rstrip("\r") if self._lines else None

    async def _fill(self) -> None:
        chunk = await trio.to_thread.run_sync(os.read, self.descriptor, READ_BYTES, abandon_on_cancel=True)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if lines and self._is_cut:
            del lines[0]  # the end of a line whose beginning was given already
            self._is_cut = False
        self._lines.extend(lines)
        self._ended = not chunk
        if self._is_cut:
            self._rest = b""
        elif self._rest and (self._ended or len(self._rest) > MAX_LINE_BYTES):
            self._lines.append(self._rest)
            self._rest, self._is_cut = b"", not self._ended


@contextmanager
def keys_one_by_one(descriptor: int) -> Iterator[Callable[[], None]]:
    """Have a terminal hand over each key at once and show none while inside the block; signals stay as they are.

    Yields:
        What sets the mode again, for a process that was stopped and continues.
    """
    before = termios.tcgetattr(descriptor)
    mode = termios.tcgetattr(descriptor)
    mode[3] &= ~(termios.ICANON | termios.ECHO)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0

    def set_mode() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
        with suppress(OSError):
            os.write(descriptor, TELL_PASTES)

    set_mode()
    try:
        yield set_mode
    finally:
        with suppress(OSError, termios.error):  # the terminal may be gone
            os.write(descriptor, TELL_NO_PASTES)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
