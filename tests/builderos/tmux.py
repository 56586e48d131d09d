"""The full-screen client in a real terminal: tmux, with its screen as text and all that was written to it as bytes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import psutil
import trio

from tests.support.server import ROOT, Server

__all__ = ["Tmux", "open_tmux"]

LIMIT_S = 60.0


@attrs.define(eq=False)
class Tmux:
    """One window of a tmux server of its own. `raw`: what was written to it so far."""

    folder: Path
    raw: bytearray = attrs.field(factory=bytearray)
    _more: trio.Event = attrs.field(factory=trio.Event)

    async def run(self, *words: str) -> str:
        """Run a tmux command; return what it prints."""
        socket = self.folder / "tmux"
        command = ["tmux", "-S", str(socket), "-f", "/dev/null", *words]
        environment = {**os.environ, "LANG": "C.UTF-8"}
        done = await trio.run_process(command, capture_stdout=True, env=environment, check=False)
        return done.stdout.decode()

    async def keys(self, *keys: str) -> None:
        """Press keys; a name such as Enter is that key."""
        await self.run("send-keys", "-t", "w", *keys)

    async def type(self, text: str) -> None:
        """Type a text and press Enter."""
        await self.run("send-keys", "-t", "w", "-l", text)
        await self.keys("Enter")

    async def screen(self) -> str:
        return await self.run("capture-pane", "-p", "-t", "w")

    async def see(self, *texts: str) -> str:
        """Wait until all texts are on the screen; return it."""
        return await self.until(lambda screen: all(text in screen for text in texts), repr(texts))

    async def until(self, is_so: Callable[[str], bool], what: str) -> str:
        """Wait until the screen is so; each output of the program is a reason to look again."""
        screen = ""
        with trio.move_on_after(LIMIT_S):
            while True:
                more = self._more
                screen = await self.screen()
                if is_so(screen):
                    return screen
                await more.wait()
        raise AssertionError(f"{what} did not come; the screen is\n{screen}")

    async def pid(self) -> int:
        """Return the process id of the client."""
        shell = psutil.Process(int(await self.run("display-message", "-p", "-t", "w", "#{pane_pid}")))
        found = [one for one in [shell, *shell.children()] if "builderos" in " ".join(one.cmdline()[1:4])]
        return int(found[-1].pid)

    async def read(self, fd: int) -> None:
        """Take what is written to the window."""
        async with trio.lowlevel.FdStream(fd) as stream:
            while True:
                self.raw += await stream.receive_some(65536)
                self._more.set()
                self._more = trio.Event()


@asynccontextmanager
async def open_tmux(
    server: Server,
    folder: Path,
    *arguments: str,
    size: tuple[int, int] = (100, 30),
    state: Path | None = None,
) -> AsyncIterator[Tmux]:
    """Run `builderos` with `arguments` in a terminal while inside the block; a shell shows its status afterwards."""
    pipe = _prepared(folder)
    window = Tmux(folder)
    own = {
        "EDITOR": "sed -i s/draft/edited/",
        "XDG_STATE_HOME": str(state or folder / "state"),
        "TERM": "tmux-256color",
    }
    variables = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in {**server.environment, **own}.items()
    )
    data = [] if "--data" in arguments else ["--data", str(server.data)]
    command = shlex.join([sys.executable, "-m", "builderos", *arguments, *data])
    begin = (
        f"tmux -S {shlex.quote(str(folder / 'tmux'))} wait-for go"  # the pipe is there before the first byte
    )
    script = f"{begin}; cd {shlex.quote(str(ROOT))}; env -i {variables} {command}; echo STATUS=$?; stty -a; exec cat"
    fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(window.read, fd)
            await window.run("new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "-s", "w", script)
            await window.run("pipe-pane", "-t", "w", f"exec cat > {shlex.quote(str(pipe))}")
            await window.run("wait-for", "-S", "go")
            yield window
            nursery.cancel_scope.cancel(reason="the test leaves")
    finally:
        _end(folder)


def _prepared(folder: Path) -> Path:
    folder.mkdir()
    os.mkfifo(folder / "output")
    return folder / "output"


def _end(folder: Path) -> None:
    subprocess.run(["tmux", "-S", str(folder / "tmux"), "kill-server"], check=False, capture_output=True)
