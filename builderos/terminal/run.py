"""Runs the full-screen program: the connection first, and while it is made, Textual is loaded.

Loading takes the longest, so the history is drawn before it is done (`FirstPicture`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from builderos.client.state import RefusedError
from builderos.client.wire.server import Server
from builderos.exit_status import FAILED, OK, fail
from builderos.ids import new_id, new_random, wall_clock_ms
from builderos.terminal.client import Client, NoView
from builderos.terminal.first import FirstPicture
from builderos.terminal.keep import Keep, state_folder

if TYPE_CHECKING:
    from builderos.terminal.app import TerminalApp

__all__ = ["can_run", "run_terminal"]

SWITCH_S: Final = 0.001
"""How long a thread that loads or draws may keep the screen waiting."""

TICKS: Final = 120
"""Times a second at which Textual may draw. What comes from the server is held to 60; a second wait adds to that one."""

HISTORY_S: Final = 0.5
"""How long the history may take after the attach; then it is drawn as far as it has come."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)

PICTURE_S: Final = 0.1
"""How long Textual waits for the first picture, so that both do not share a core. A server far away takes longer."""

_FOR_PICTURE: Final = ("builderos.terminal.draw.layout", "builderos.terminal.draw.markdown")

_FOR_SCREEN: Final = (
    "builderos.terminal.app",
    "builderos.terminal.driver",
    "builderos.terminal.screens.session",
)


def can_run(environment: Mapping[str, str]) -> bool:
    """Return whether there is a terminal that can show it, and Textual is installed."""
    if environment.get("TERM", "dumb") in {"", "dumb"}:
        return False
    return sys.stdin.isatty() and sys.stdout.isatty() and find_spec("textual") is not None


def run_terminal(
    find: Callable[[], Server],
    place: str,
    *,
    session_id: str | None = None,
    agent: str | None = None,
    device_id: str = "terminal",
    observe: bool = False,
    history: int = 50,
    is_own: bool = False,
) -> int:
    """Run until the person leaves; return the exit status.

    Args:
        find: returns the server's current address.
        place: names the server: its data folder or its address.
        session_id: the session to open; None for the list.
        agent: creates it if it does not exist.
        device_id: our label.
        observe: watch only.
        history: turns to load first.
        is_own: the server is on this machine.

    Raises:
        NoServerError, LinkLostError: the server cannot be reached.
        RefusedError: the key is not valid, or it does not allow this session.
    """
    os.environ.setdefault("TEXTUAL_FPS", str(TICKS))
    sys.setswitchinterval(SWITCH_S)
    gc.disable()  # until the first screen is drawn: what is loaded meanwhile stays
    keep = Keep(state_folder(os.environ, Path.home()), place)
    client = Client(find, keep, new_random(), new_id, wall_clock_ms, device_id, observe, history, is_own)
    if session_id is not None:
        client.open(session_id, agent)
    client.restore()
    error = asyncio.run(_run(client))
    if error:
        return fail(error)
    return OK if error is None else FAILED


async def _run(client: Client) -> str | None:
    loop = asyncio.get_running_loop()
    wire = loop.create_task(client.wire.run())
    first = FirstPicture(os.environ)
    for number in _SIGNALS:
        loop.add_signal_handler(number, first.die, number)
    try:
        is_drawn = Event()
        load = partial(_load, is_drawn, has_picture=client.conversation is not None)
        await asyncio.gather(_attached(client, wire, first, is_drawn), asyncio.to_thread(load))
        from builderos.terminal.app import TerminalApp
        from builderos.terminal.driver import Terminal

        app = TerminalApp(client, Terminal, first)
        client.view = app
        wire.add_done_callback(lambda task: _ended(app, task))
        for number in _SIGNALS:
            loop.add_signal_handler(number, app.call_later, app.leave)
        result = await app.run_async(mouse=app.has_mouse)
        if app.failure is not None:
            raise app.failure  # the command line prints it, as that of any command
        return result
    finally:
        first.end()
        wire.cancel()
        await asyncio.gather(wire, return_exceptions=True)


async def _attached(client: Client, wire: asyncio.Task[None], first: FirstPicture, is_drawn: Event) -> None:
    """Wait for the first attach, and draw what it brings."""
    start = _Start(client)
    client.view = start
    waits = [asyncio.create_task(client.wire.attached.wait()), asyncio.create_task(start.is_refused.wait())]
    try:
        await asyncio.wait([*waits, wire], return_when=asyncio.FIRST_COMPLETED)
        if wire.done():
            wire.result()
        if start.is_refused.is_set():
            raise RefusedError("refused", start.refusal)
        with suppress(TimeoutError):
            await asyncio.wait_for(start.is_whole.wait(), HISTORY_S)
        if client.conversation is not None:
            first.show(client.conversation)
    finally:
        is_drawn.set()
        for task in waits:
            task.cancel()


class _Start(NoView):
    """Hears of a refusal, and of the history, before there is a screen."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.is_refused, self.is_whole = asyncio.Event(), asyncio.Event()
        self.refusal = ""
        self.changed()

    def changed(self, *, at_once: bool = False) -> None:
        conversation, follow = self._client.conversation, self._client.wire.shown
        here = follow.position.seq if follow is not None and follow.position is not None else 0
        if conversation is None or (conversation.agent and here >= conversation.head_seq):
            self.is_whole.set()

    def refused(self, session_id: str, text: str) -> None:
        self.refusal = text
        self.is_refused.set()


def _load(is_drawn: Event, *, has_picture: bool) -> None:
    """Load what takes most of a start; if there is a first picture, what it needs and itself come before."""
    if has_picture:
        for name in _FOR_PICTURE:
            import_module(name)
        is_drawn.wait(PICTURE_S)
    for name in _FOR_SCREEN:
        import_module(name)


def _ended(app: TerminalApp, task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        app.call_later(app.exit, f"the server refuses: {task.exception()}")
