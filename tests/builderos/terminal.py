"""A terminal client as a process of its own, on pipes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from tests.support.server import ROOT, Server

__all__ = ["Terminal", "command_line", "open_terminal", "run_command"]

LIMIT_S = 40.0


@attrs.define(eq=False)
class Terminal:
    """One running `builderos attach`. `shown`: what it wrote so far."""

    process: trio.Process
    shown: str = ""
    _more: trio.Event = attrs.field(factory=trio.Event)
    _ended: bool = False

    async def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{line}\n".encode())

    async def see(self, text: str, *, times: int = 1) -> None:
        """Wait until `text` was shown so many times."""
        with trio.move_on_after(LIMIT_S) as scope:  # noqa: ASYNC912 - waits, or has it
            while self.shown.count(text) < times:
                assert not self._ended, f"{text!r} is not in {self.shown!r}"
                await self._more.wait()
        assert not scope.cancelled_caught, f"{text!r} is not in {self.shown!r}"

    async def end_input(self) -> int:
        """Close the input; return the exit status."""
        assert self.process.stdin is not None
        await self.process.stdin.aclose()
        return await self.wait()

    async def interrupt(self) -> int:
        """Press ctrl-C; return the exit status."""
        self.process.send_signal(signal.SIGINT)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for the end; return the exit status."""
        with trio.fail_after(LIMIT_S):
            return await self.process.wait()

    async def run(self) -> None:
        """Read what it shows."""
        assert self.process.stdout is not None
        async for chunk in self.process.stdout:
            self.shown += chunk.decode()
            self._wake()
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()


@asynccontextmanager
async def open_terminal(server: Server, *arguments: str) -> AsyncIterator[Terminal]:
    """Run `builderos attach` with `arguments` while inside the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "builderos", "attach", "--data", str(server.data), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        env=dict(server.environment),
    )
    terminal = Terminal(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.run)
            yield terminal
            nursery.cancel_scope.cancel(reason="the test leaves")
    finally:
        with trio.CancelScope(shield=True):
            process.kill()  # ends at once, so that the wait does
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()


def command_line(server: Server, *arguments: str) -> list[str]:
    """Return the words that run a command on the server's data folder."""
    return [sys.executable, "-m", "builderos", *arguments, "--data", str(server.data)]


async def run_command(server: Server, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run a command to its end; return status, stdout and stderr."""
    with trio.fail_after(30):
        done = await trio.run_process(
            command_line(server, *arguments),
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=ROOT,
            env=dict(server.environment),
        )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
