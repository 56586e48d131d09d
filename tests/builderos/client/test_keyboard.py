"""A terminal whose lines are edited: a real process on a pseudo terminal."""

from __future__ import annotations

import os
import pty
import re
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.builderos.terminal import LIMIT_S, command_line
from tests.support.server import ROOT, Server, open_server


@attrs.define(eq=False)
class _Pty:
    """The person's side of it. `shown`: what is on the screen, echo included."""

    master: trio.lowlevel.FdStream
    process: trio.Process
    shown: str = ""

    async def press(self, keys: str) -> None:
        await self.master.send_all(keys.encode())

    async def see(self, pattern: str) -> None:
        with trio.move_on_after(LIMIT_S):  # noqa: ASYNC912 - it may be there already
            while not re.search(pattern, self.shown):
                self.shown += (await self.master.receive_some()).decode(errors="replace")
        assert re.search(pattern, self.shown), f"{pattern!r} is not in {self.shown!r}"


@asynccontextmanager
async def _open_pty(server: Server, *arguments: str) -> AsyncIterator[_Pty]:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = await trio.lowlevel.open_process(
        command_line(server, "attach", *arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**server.environment, "TERM": "xterm"},
        start_new_session=True,
    )
    try:
        async with trio.lowlevel.FdStream(master) as stream:
            yield _Pty(stream, process)
            with trio.fail_after(LIMIT_S):
                assert await process.wait() == 0
            assert termios.tcgetattr(slave)[3] == before[3], "the terminal is as it was"
    finally:
        os.close(slave)
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()


async def test_tab_completes_commands_and_what_the_agent_offers(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "hello")
        async with _open_pty(server, "trip") as person:
            await person.see("trip · echo · idle")
            await person.see("complete —")
            await person.press("/mod\t ed\t\r")
            await person.see("mode edits, effort by default now")
            await person.press("/quit\r")


async def test_a_signal_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, _open_pty(server, "trip", "--agent", "echo") as person:
        await person.see("trip · echo · idle")
        await person.press("/stat\t")
        await person.see("/status")  # the line is being edited
        person.process.terminate()
