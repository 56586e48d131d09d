"""A program whose output is read as it comes, in a pseudo terminal or through a pipe, each read with its moment."""

from __future__ import annotations

import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from fcntl import ioctl
from pathlib import Path

import attrs
import trio

from bench.devices import now_us
from bench.errors import BenchError
from bench.processes import ROOT, environment

__all__ = ["FRAME_END", "Size", "Window", "open_pipe", "open_window"]

Size = tuple[int, int]
"""Columns and lines."""

FRAME_END = b"\x1b[?2026l"
"""What a program writes after each picture, to a terminal that draws a picture as a whole."""

_ASKS = b"\x1b[?2026$p"
_ANSWER = b"\x1b[?2026;2$y"

_READ_BYTES = 65536
_STOP_S = 20.0
_TERM = "xterm-256color"


@attrs.define(eq=False)
class Window:
    """A program that runs. Made by `open_window` and `open_pipe` only.

    Attributes:
        name: for messages.
        began_us: when it was started.
        raw: all that it has written.
    """

    name: str
    process: trio.Process
    _stream: trio.abc.ReceiveStream
    _keys: trio.abc.SendStream
    began_us: int = 0
    raw: bytearray = attrs.field(factory=bytearray)
    _marks: list[tuple[int, int]] = attrs.field(factory=list)
    _more: trio.Event = attrs.field(factory=trio.Event)
    _ended: bool = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def press(self, keys: bytes) -> None:
        """Write keys to it. Raises BenchError where it has ended."""
        try:
            await self._keys.send_all(keys)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            raise BenchError(f"{self.name} ended") from None

    async def find(
        self, pattern: re.Pattern[bytes], start: int, limit_s: float
    ) -> tuple[re.Match[bytes], int]:
        """Wait for the first match that begins at byte `start` or later; return it, and when its end was read.

        Raises:
            BenchError: it did not come within `limit_s`, or the program ended.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(limit_s):
            while True:
                found = pattern.search(self.raw, start)
                if found:
                    return found, next(at_us for end, at_us in self._marks if end >= found.end())
                if self._ended:
                    raise BenchError(f"{self.name} ended: {self._last_words()}")
                await self._more.wait()
        raise BenchError(f"{self.name} did not show {pattern.pattern!r} within {limit_s:g} s")

    async def rest(self, quiet_s: float, limit_s: float) -> int:
        """Wait until nothing came for a while; return when the last bytes did. Raises BenchError where it never rests."""
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(limit_s):
            while True:
                more = self._more
                with trio.move_on_after(quiet_s) as quiet:
                    await more.wait()
                if quiet.cancelled_caught:
                    return self._marks[-1][1] if self._marks else self.began_us
        raise BenchError(f"{self.name} was not quiet within {limit_s:g} s")

    async def read(self) -> None:
        """Take what it writes until it ends."""
        with suppress(OSError, trio.BrokenResourceError):  # a terminal without a program cannot be read
            while data := await self._stream.receive_some(_READ_BYTES):
                at_us = now_us()
                asked = _ASKS in data
                self.raw += data
                self._marks.append((len(self.raw), at_us))
                self._wake()
                if asked:
                    await self._keys.send_all(_ANSWER)
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.raw.decode(errors="replace").splitlines() if line.strip()]
        return ascii(lines[-1][-300:]) if lines else "it left no word"


@asynccontextmanager
async def open_window(
    name: str, words: Sequence[str], folder: Path, size: Size, env: Mapping[str, str] | None = None
) -> AsyncIterator[Window]:
    """Run `python WORDS…` in a pseudo terminal; at the end of the block it is hung up."""
    ours, theirs = pty.openpty()
    try:
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        began_us = now_us()
        process = await _start(words, folder, env, stdin=theirs, stdout=theirs, stderr=theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    stream = trio.lowlevel.FdStream(ours)
    async with _reading(Window(name, process, stream, stream, began_us)) as window:
        yield window


@asynccontextmanager
async def open_pipe(
    name: str, words: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[Window]:
    """Run `python WORDS…` with pipes; at the end of the block it is asked to stop."""
    began_us = now_us()
    pipe = subprocess.PIPE
    process = await _start(words, folder, env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)
    assert process.stdin is not None
    assert process.stdout is not None
    async with _reading(Window(name, process, process.stdout, process.stdin, began_us)) as window:
        yield window


async def _start(
    words: Sequence[str], folder: Path, env: Mapping[str, str] | None, *, stdin: int, stdout: int, stderr: int
) -> trio.Process:
    own = {"TERM": _TERM, "XDG_STATE_HOME": str(folder / "state"), "LANG": "C.UTF-8"}
    return await trio.lowlevel.open_process(
        [sys.executable, *words],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=ROOT,
        env={**environment(), **own, **(env or {})},
        start_new_session=True,
    )


@asynccontextmanager
async def _reading(window: Window) -> AsyncIterator[Window]:
    process = window.process
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(window.read)
            yield window
            process.send_signal(signal.SIGTERM)
            # It must be read to its end: a program that cannot write cannot end.
            with trio.move_on_after(_STOP_S):
                await process.wait()
            nursery.cancel_scope.cancel(reason="the measurement is done")
    finally:
        if process.returncode is None:
            process.kill()
        with trio.move_on_after(_STOP_S, shield=True):  # what is lost is only that somebody reaped it
            await process.wait()
            await window._stream.aclose()
            await window._keys.aclose()
