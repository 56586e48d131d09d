"""The commands that talk to a server, from their options to their exit status."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from builderos.client.state import Follow
from builderos.client.terminal import one_line, table
from builderos.client.wire.server import Find, Where, with_server
from builderos.exit_status import MISUSED, OK, fail
from builderos.ids import new_id, new_random, wall_clock_ms
from builderos.options import SESSION_ID, Parser, between, options_of_acts

__all__ = [
    "Target",
    "add_attach",
    "add_nodes",
    "add_send",
    "add_sessions",
    "run_attach",
    "run_list",
    "run_send",
    "run_sessions",
]

NODE_HEADINGS = ("ID", "NAME", "STATE", "VERSION", "SESSIONS", "CONNECTIONS")
MOVE_S = 130.0
"""How long a move may take: an agent may have to be ended on each of two machines."""

MAX_MESSAGE_BYTES = 256 * 1024
MAX_MESSAGE_ID = 128


@attrs.frozen
class Target:
    """The session, the agent that creates it if it does not exist, the device's name, and the machine of a new session."""

    session_id: str
    agent: str | None
    device_id: str | None
    node: str | None = None

    @property
    def settings(self) -> dict[str, str] | None:
        """The settings of a new session."""
        return None if self.node is None else {"node": self.node}

    def fault(self) -> str | None:
        """Return what is wrong with it; None if nothing is."""
        for name, value in (
            ("SESSION", self.session_id),
            ("--agent", self.agent),
            ("--device", self.device_id),
            ("--node", self.node),
        ):
            if value is not None and (fault := _fault_of_id(name, value)):
                return fault
        return None


def run_sessions(data: Path, url: str | None, key: str | None, *, limit: int) -> int:
    """Print the sessions; return the exit status."""
    from builderos.client.wire.http import fetch_sessions, session_table

    def work(find: Find) -> int:
        sys.stdout.write(session_table(fetch_sessions(find(), limit)))
        return OK

    return with_server((data, url, key), work)


def run_send(where: Where, target: Target, content: str, *, message_id: str | None, wait: bool) -> int:
    """Send a message; return the exit status (`builderos.client.send`)."""
    fault = target.fault() or _fault_of(content, message_id)
    if fault:
        return fail(fault, MISUSED)
    import trio  # takes time to load, and the full-screen client does without

    from builderos.client.send import send

    follow = Follow(
        target.session_id,
        target.agent,
        target.device_id,
        history=50 if wait else 0,
        settings=target.settings,
    )

    async def work(find: Find) -> int:
        return await send(
            find,
            follow,
            content=content,
            message_id=message_id or new_id(),
            wait=wait,
            chance=new_random(),
        )

    return with_server(where, lambda find: trio.run(work, find))


def _fault_of(content: str, message_id: str | None) -> str | None:
    try:
        size = len(content.encode())
        (message_id or "").encode()
    except UnicodeEncodeError:  # the shell's argument was not valid text in its encoding
        return "TEXT or --message-id is not valid text"
    if not content:
        return "TEXT is empty"
    if size > MAX_MESSAGE_BYTES:
        return f"TEXT is over {MAX_MESSAGE_BYTES} bytes"
    if message_id is not None and not 1 <= len(message_id) <= MAX_MESSAGE_ID:
        return f"--message-id: not 1 to {MAX_MESSAGE_ID} characters"
    return None


def _fault_of_id(name: str, value: str) -> str | None:
    """Return what is wrong with an id, by the server's rule."""
    return (
        None
        if SESSION_ID.fullmatch(value)
        else f"{name}: {one_line(value)} is not 1 to 128 of A-Z a-z 0-9 . _ -"
    )


def run_attach(where: Where, target: Target, *, observe: bool, history: int, plain: bool = False) -> int:
    """Attach the terminal; return the exit status. On a terminal it is the full-screen client, unless `plain`."""
    fault = target.fault()
    if fault:
        return fail(fault, MISUSED)
    device_id = target.device_id or "terminal"
    if not plain and _can_run():
        if target.node is not None and (status := _make(where, target, device_id)) != OK:
            return status
        how = {"session_id": target.session_id, "agent": target.agent, "device_id": device_id}
        return _run_terminal(where, observe=observe, history=history, **how)
    import trio  # takes time to load, and the full-screen client does without

    from builderos.client.attach import attach

    follow = Follow(
        target.session_id,
        target.agent,
        device_id,
        observe=observe,
        history=history,
        settings=target.settings,
    )

    async def work(find: Find) -> int:
        await attach(find, follow, chance=new_random(), new_id=new_id, clock=wall_clock_ms)
        return OK

    return with_server(where, lambda find: trio.run(work, find))


def _make(where: Where, target: Target, device_id: str) -> int:
    """Create the session on its machine, unless it exists; return the exit status. The full-screen client then finds
    it."""
    import trio

    from builderos.client.wire.follower import Follower

    follow = Follow(target.session_id, target.agent, device_id, history=0, settings=target.settings)

    async def work(find: Find) -> int:
        follower = Follower(find, follow, new_random(), lambda _: None, lambda _: None)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(follower.run)
            except Exception as error:  # raised below, so that no group wraps it
                failure = error
            nursery.cancel_scope.cancel(reason="the session is there")
        if failure is not None:
            raise failure
        return OK

    return with_server(where, lambda find: trio.run(work, find))


def run_list(where: Where, *, observe: bool = False) -> int:
    """Open the full-screen client on the list of sessions; return the exit status."""
    return _run_terminal(where, observe=observe)


def _can_run() -> bool:
    from builderos.terminal.run import can_run

    return can_run(os.environ)


def _run_terminal(where: Where, **how: Any) -> int:
    from builderos.terminal.run import run_terminal

    data, url, _ = where
    return with_server(where, lambda find: run_terminal(find, url or str(data), is_own=url is None, **how))


def add_sessions(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sessions` and its act."""
    parser.add_argument(
        "--limit",
        type=partial(between, low=1, high=500),
        default=100,
        help="number of sessions, 1 to 500 (default: %(default)s)",
    )
    parser.set_defaults(run=_sessions)
    again = options_of_acts(key="an admin's key, instead of the one in the data folder")
    acts = parser.add_subparsers(metavar="ACT", parser_class=Parser)
    move = acts.add_parser("move", parents=[again], help="move a session to another machine")
    move.add_argument("session", metavar="SESSION", help="session ID")
    move.add_argument("--to", metavar="NODE", required=True, help="machine, as `builderos nodes` prints it")
    move.add_argument(
        "--force",
        action="store_true",
        help="also while it works, which interrupts its turn; also if its machine is away for good",
    )
    move.set_defaults(run=_move)


def _sessions(arguments: argparse.Namespace) -> int:
    return run_sessions(arguments.data, arguments.url, arguments.key, limit=arguments.limit)


def _move(arguments: argparse.Namespace) -> int:
    """Move a session, and print where it is then."""
    fault = _fault_of_id("SESSION", arguments.session)
    if fault:
        return fail(fault, MISUSED)
    from builderos.client.wire.http import call

    def work(find: Find) -> int:
        body = {"node": arguments.to, "force": arguments.force}
        path = f"/api/sessions/{arguments.session}/move"
        moved = call(find(), "POST", path, body, limit_s=MOVE_S).get("moved")
        state = "is at" if moved is False else "moved to"
        sys.stdout.write(f"Session {arguments.session} {state} {one_line(arguments.to)}.\n")
        return OK

    return with_server((arguments.data, arguments.url, arguments.key), work)


def add_nodes(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nodes`."""
    parser.epilog = "The state is seen from the server that answers: here, there or away."
    parser.set_defaults(run=_nodes)


def _nodes(arguments: argparse.Namespace) -> int:
    """Print the machines that share the sessions."""
    from builderos.client.wire.http import call

    def work(find: Find) -> int:
        nodes = [one for one in call(find(), "GET", "/api/nodes").get("nodes") or () if isinstance(one, dict)]
        if not nodes:
            sys.stderr.write("This server does not share its sessions with other machines.\n")
        rows = [[one.get(name.lower()) for name in NODE_HEADINGS] for one in nodes]
        sys.stdout.write(table(NODE_HEADINGS, rows))
        return OK

    return with_server((arguments.data, arguments.url, arguments.key), work)


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="session ID")
    parser.add_argument("--agent", help="create the session with this agent if it does not exist")
    parser.add_argument("--device", metavar="NAME", help="device name that others see")
    parser.add_argument(
        "--node", metavar="NODE", help="machine of a new session, as `builderos nodes` prints it"
    )


def _target(arguments: argparse.Namespace) -> Target:
    return Target(arguments.session, arguments.agent, arguments.device, arguments.node)


def add_send(parser: argparse.ArgumentParser) -> None:
    """Add the options of `send`."""
    parser.epilog = (
        "Exit status: 0 accepted (with --wait: complete), 1 refused or error, 3 interrupted, 4 taken back, "
        "5 unknown: the message may or may not have reached the agent."
    )
    _add_target(parser)
    parser.add_argument("text", metavar="TEXT", help="the message; - reads it from standard input")
    parser.add_argument(
        "--message-id",
        metavar="ID",
        help="idempotency key: a message with a known ID is not sent twice",
    )
    parser.add_argument("--wait", action="store_true", help="print the answer and wait for its end")
    parser.set_defaults(run=_send)


def _read_message() -> str:
    """Return what stands on standard input, less a last line end: all that a server takes, and enough to tell more."""
    data = sys.stdin.buffer.read(MAX_MESSAGE_BYTES + 2)
    return data.decode(errors="surrogateescape").removesuffix("\n")


def _send(arguments: argparse.Namespace) -> int:
    return run_send(
        (arguments.data, arguments.url, arguments.key),
        _target(arguments),
        _read_message() if arguments.text == "-" else arguments.text,
        message_id=arguments.message_id,
        wait=arguments.wait,
    )


def add_attach(parser: argparse.ArgumentParser) -> None:
    """Add the options of `attach`."""
    _add_target(parser)
    parser.add_argument("--observe", action="store_true", help="watch only")
    parser.add_argument(
        "--plain", action="store_true", help="lines instead of a full screen, also on a terminal"
    )
    parser.add_argument(
        "--history",
        type=partial(between, low=0, high=1000),
        default=50,
        help="turns to show first (default: %(default)s)",
    )
    parser.set_defaults(run=_attach)


def _attach(arguments: argparse.Namespace) -> int:
    where = (arguments.data, arguments.url, arguments.key)
    how = {"observe": arguments.observe, "history": arguments.history, "plain": arguments.plain}
    return run_attach(where, _target(arguments), **how)
