"""An interactive program in a terminal of its own, as a person at the desk has it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio

__all__ = ["Tui", "claude_home", "open_tui"]

_CODES = re.compile(
    rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;?<>=]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78]"
)
_SPACE = re.compile(r"\s+")

LIMIT_S = 30.0
STILL_S = 2.0
"""After so long without a change a program has drawn what it wants to."""
POLL_S = 0.02


class Tui:
    """A program in a pty. `seen` is all that it wrote, without colours, moves and blanks."""

    def __init__(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self._data = bytearray()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], list(command), dict(env))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 150, 0, 0))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def seen(self) -> str:
        """What the program wrote so far. A terminal moves over blanks, so they are left out."""
        return self._seen_from(0)

    def _seen_from(self, start: int) -> str:
        return _SPACE.sub("", _CODES.sub(b"", bytes(self._data[start:])).decode(errors="replace"))

    def press(self, keys: str) -> None:
        """Write to the program as a keyboard does."""
        os.write(self._fd, keys.encode())

    async def say(self, text: str) -> None:
        """Type a line, and Enter once the program shows it.

        A program that draws something else at the same moment may not write the line in one piece. Then it has shown all
        once it draws nothing more.
        """
        start, end = len(self._data), _SPACE.sub("", text)[-12:]
        place, since = start, trio.current_time()

        def is_shown() -> bool:
            nonlocal place, since
            if len(self._data) != place:
                place, since = len(self._data), trio.current_time()
            is_still = place > start and trio.current_time() - since > STILL_S
            return is_still or end in self._seen_from(start)

        self.press(text)
        await self.until(is_shown)
        self.press("\r")

    @property
    def place(self) -> int:
        """How much the program has written so far, for `wait`."""
        return len(self._data)

    async def wait(self, *words: str, since: int = 0) -> None:
        """Wait until the program has written one of these words, after a place if it is given."""
        wanted = [_SPACE.sub("", one) for one in words]
        await self.until(lambda: any(one in self._seen_from(since) for one in wanted))

    async def until(self, holds: object) -> None:
        """Wait until something holds that gives no event."""
        assert callable(holds)
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(LIMIT_S) as limit:  # noqa: ASYNC912 - it sleeps unless it need not
            while not holds():  # noqa: ASYNC110 - another process; nobody could set an event
                await trio.sleep(POLL_S)
        assert not limit.cancelled_caught, self.seen[-1500:]

    def end(self, sign: int = signal.SIGTERM) -> None:
        """End the program, by force if it takes long."""
        for each in (sign, signal.SIGKILL):
            try:
                os.kill(self.pid, each)
            except ProcessLookupError:
                break
            for _ in range(250):
                if self._is_gone():
                    return
                threading.Event().wait(0.02)
        self._is_gone()

    def _is_gone(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError:
                return
            if not data:
                return
            if b"\x1b[c" in data:
                os.write(self._fd, b"\x1b[?62;c")
            if b"\x1b[6n" in data:
                os.write(self._fd, b"\x1b[1;1R")
            self._data += data


@contextmanager
def open_tui(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Iterator[Tui]:
    """Run a program in a terminal while inside the block."""
    tui = Tui(command, folder, {**env, "TERM": "xterm-256color"})
    try:
        yield tui
    finally:
        tui.end()


def claude_home(home: Path, *folders: Path) -> None:
    """Write what lets Claude Code begin without its first questions."""
    projects = {
        str(one): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True} for one in folders
    }
    known = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["standin-key"], "rejected": []},
        "projects": projects,
    }
    (home / ".claude.json").write_text(json.dumps(known))
