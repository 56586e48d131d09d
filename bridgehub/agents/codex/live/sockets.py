"""Codex on a Unix socket, so that a terminal of the person's can join the hub's program, or the hub the person's.

The socket has the mode 0600 and lies in a folder of the hub's that is closed to others. Codex makes it so itself (seen).
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from bridgehub.agents.errors import CodexDoesNotListen, ProgramError, ProgramExited
from bridgehub.agents.json_rpc.marked import RUN, kill_marked
from bridgehub.agents.json_rpc.program import Program, run_program
from bridgehub.agents.json_rpc.wires import SocketWire, connect
from bridgehub.protocol.folder import codex_socket_of
from bridgehub.protocol.hub_spec import HubSpec

__all__ = ["clients_of", "daemon_socket", "join_program", "leave_socket", "socket_of", "start_listening"]

GONE_S = 1.0
"""How long a program that is killed may take to be gone, seconds."""

UP_POLL_S = 0.01
"""How often it is tried. The program says nothing when it is ready."""

_CONNECTED = "03"
"""The state of a connection in `/proc/net/unix`."""


def socket_of(spec: HubSpec) -> str | None:
    """Return where the hub's program listens; None if the path would be too long for a socket."""
    path = codex_socket_of(Path(spec.socket)) if spec.socket else None
    return None if path is None else os.fspath(path)


def daemon_socket(home: Path) -> str:
    """Return where Codex's own background program listens, which terminals start."""
    return os.fspath(home / "app-server-control" / "app-server-control.sock")


async def start_listening(
    command: Sequence[str], path: str, *, env: Mapping[str, str], cwd: str, run_id: str, limit_s: float
) -> Program:
    """Start a program that listens on `path`, and connect to it.

    Raises:
        OSError: the process cannot be started.
        CodexDoesNotListen: it ended first, as a program does that knows no sockets.
        ProgramExited: it does not listen within `limit_s`.
    """
    leave_socket(path)  # of a program that was killed
    process = await trio.lowlevel.open_process(
        [*command, "--listen", f"unix://{path}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**env, RUN: run_id},
        cwd=cwd,
        start_new_session=True,
    )
    wire: SocketWire | None = None
    try:
        with trio.move_on_after(limit_s):
            wire = await _connect_soon(process, path)
    finally:
        if wire is None:
            await _end(process, run_id)  # noqa: ASYNC102 - it shields itself
    if wire is None and process.returncode == -signal.SIGKILL:
        raise ProgramExited(f"Codex did not start within {limit_s:g} s.")
    if wire is None:
        said = await _last_words(process)
        raise CodexDoesNotListen(f"Codex ended with exit status {process.returncode}.{said}")
    return run_program(Program(wire, process, run_id, listens=True))


def leave_socket(path: str) -> None:
    """Remove a socket's name, so that no terminal connects to a program that is about to end."""
    with suppress(FileNotFoundError):
        os.unlink(path)


async def _connect_soon(process: trio.Process, path: str) -> SocketWire | None:
    while process.poll() is None:
        with suppress(OSError):
            return await connect(path)
        await trio.sleep(UP_POLL_S)
    return None


async def _end(process: trio.Process, run_id: str) -> None:
    if process.poll() is None:
        process.kill()
    # When it fires, a process that cannot be killed is left to the hub's own end.
    with trio.move_on_after(GONE_S, shield=True):
        await process.wait()
        await trio.to_thread.run_sync(kill_marked, run_id)


async def _last_words(process: trio.Process) -> str:
    assert process.stderr is not None
    words = b""
    with trio.move_on_after(GONE_S):
        words = bytes(await process.stderr.receive_some(2048))
    await process.stderr.aclose()
    return f" Its last output:\n{words.decode(errors='replace').strip()}" if words else ""


async def join_program(path: str) -> Program | None:
    """Connect to a program of the person's; None if there is none.

    Only a socket that belongs to this user and that nobody else may use is taken.
    """
    try:
        told = os.stat(path)  # Codex makes a link in its own folder, to a place with a short path
        if not stat.S_ISSOCK(told.st_mode) or told.st_uid != os.getuid() or told.st_mode & 0o077:
            return None
        return run_program(Program(await connect(path), None, ""))
    except (OSError, ProgramError):
        return None


def clients_of(path: str) -> int | None:
    """Return how many connections a socket has; None if that cannot be known. Blocks: use a thread."""
    try:
        bound = os.path.realpath(path)  # Codex binds it at a place with a short path, and makes a link to it
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return None
    rows = (line.split(None, 7) for line in lines)
    return sum(len(row) == 8 and row[7] in (path, bound) and row[5] == _CONNECTED for row in rows)
