"""The commands that talk to a server, from their options to their exit status."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from builderos.client.attach import attach
from builderos.client.connection import LinkLostError, NoServerError, Server, find_server
from builderos.client.send import send
from builderos.client.sessions import fetch_sessions, table
from builderos.client.state import Follow, RefusedError
from builderos.client.terminal import one_line
from builderos.exit_status import MISUSED, OK, fail
from builderos.ids import new_id, new_random

__all__ = ["Target", "run_attach", "run_send", "run_sessions"]

ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
MAX_MESSAGE_BYTES = 256 * 1024
MAX_MESSAGE_ID = 128

Where = tuple[Path, str | None, str | None]
"""Data folder, and what was given instead of its address and its key."""

Find = Callable[[], Server]
"""Tells where the server is now; raises NoServerError."""


@attrs.frozen
class Target:
    """Which session, made with which agent where it is not there, as which device."""

    session_id: str
    agent: str | None
    device_id: str | None

    def fault(self) -> str | None:
        """Return what is wrong with it; None where nothing is."""
        for name, value in (
            ("SESSION", self.session_id),
            ("--agent", self.agent),
            ("--device", self.device_id),
        ):
            if value is not None and (fault := _fault_of_id(name, value)):
                return fault
        return None


def run_sessions(data: Path, url: str | None, key: str | None, *, limit: int) -> int:
    """Print the sessions; return the exit status."""

    def work(find: Find) -> int:
        sys.stdout.write(table(fetch_sessions(find(), limit)))
        return OK

    return _with_server((data, url, key), work)


def run_send(where: Where, target: Target, content: str, *, message_id: str | None, wait: bool) -> int:
    """Send a message; return the exit status (`builderos.client.send`)."""
    fault = target.fault() or _fault_of(content, message_id)
    if fault:
        return fail(fault, MISUSED)
    follow = Follow(target.session_id, target.agent, target.device_id, history=50 if wait else 0)

    async def work(find: Find) -> int:
        return await send(
            find,
            follow,
            content=content,
            message_id=message_id or new_id(),
            wait=wait,
            chance=new_random(),
        )

    return _with_server(where, lambda find: trio.run(work, find))


def _fault_of(content: str, message_id: str | None) -> str | None:
    try:
        size = len(content.encode())
        (message_id or "").encode()
    except UnicodeEncodeError:  # what the shell gave was no text in its own encoding
        return "TEXT or --message-id is no valid text"
    if not content:
        return "TEXT is empty"
    if size > MAX_MESSAGE_BYTES:
        return f"TEXT is over {MAX_MESSAGE_BYTES} bytes"
    if message_id is not None and not 1 <= len(message_id) <= MAX_MESSAGE_ID:
        return f"--message-id: not 1 to {MAX_MESSAGE_ID} characters"
    return None


def _fault_of_id(name: str, value: str) -> str | None:
    """Tell what is wrong with an id, by the rule of the server."""
    return None if ID.fullmatch(value) else f"{name}: {one_line(value)} is not 1 to 128 of A-Z a-z 0-9 . _ -"


def run_attach(where: Where, target: Target, *, observe: bool, history: int) -> int:
    """Attach the terminal; return the exit status."""
    fault = target.fault()
    if fault:
        return fail(fault, MISUSED)
    device_id = target.device_id or "terminal"
    follow = Follow(target.session_id, target.agent, device_id, observe=observe, history=history)

    async def work(find: Find) -> int:
        await attach(find, follow, chance=new_random(), new_id=new_id)
        return OK

    return _with_server(where, lambda find: trio.run(work, find))


def _with_server(where: Where, work: Callable[[Find], int]) -> int:
    data, url, key = where
    if key is None and url is not None:
        key = os.environ.get("BUILDEROS_API_KEY")  # unlike an option no other user of the machine sees it
    try:
        return work(lambda: find_server(data, url, key))
    except NoServerError as error:
        return fail(str(error))
    except LinkLostError as error:
        return fail(f"the server cannot be reached: {error}")
    except RefusedError as error:
        return fail(f"the server refuses: {error}")
