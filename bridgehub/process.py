"""How a process becomes a hub: nothing of its starter may stay behind in it.

Called right after a fork, or at the start of a program of its own. Afterwards the process has its own
session, no descriptor of anybody else, `/dev/null` as input, its log as output, exactly the agent's
environment, and adopts the orphans below it (Linux).
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

import orjson
import trio

from bridgehub.hub import run_hub
from bridgehub.masking import Masker, MaskingFormatter
from bridgehub.orphans import adopt_orphans
from bridgehub.protocol.folder import (
    LOG_NAME,
    MAX_SOCKET_PATH_BYTES,
    HubPid,
    is_hub_id,
    write_pid_file,
)
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.protocol.process_tree import MARKER, start_mark

__all__ = ["HubRefused", "become_hub", "encode_answer", "live_as_hub"]

READY_DESCRIPTOR = 3
"""Where the way back to the starter lies while everything else is closed."""

_BACKLOG = 16
"""Connections that the kernel keeps for the hub until it accepts them."""

_PR_SET_NAME = 15


class HubRefused(Exception):
    """The spec asks for something that cannot be; the text says what."""


def encode_answer(hub_id: str, pid: int | None, error: str | None = None) -> bytes:
    """Return the line about its spec for the process that started this one."""
    return orjson.dumps({"hub_id": hub_id, "pid": pid, "error": error}, option=orjson.OPT_APPEND_NEWLINE)


def live_as_hub(spec: HubSpec, ready: int) -> int:
    """Become the hub of `spec`, tell `ready` (a descriptor), live, and return the exit status."""
    try:
        listener = become_hub(spec, ready)
        answer = encode_answer(spec.hub_id, os.getpid())
    except Exception as exc:
        reason = str(exc) if isinstance(exc, HubRefused) else _plain(exc)
        os.write(READY_DESCRIPTOR, encode_answer(spec.hub_id, None, reason))
        return 1
    os.write(READY_DESCRIPTOR, answer)
    os.close(READY_DESCRIPTOR)
    trio.run(run_hub, spec, listener)
    return 0


def become_hub(spec: HubSpec, ready: int) -> socket.socket:
    """Make this process the hub of `spec`; return its listening socket.

    Raises:
        HubRefused: an id or path that cannot be one.
        OSError: a folder or socket that cannot be made.
    """
    _leave_starter(ready)
    if not is_hub_id(spec.hub_id):
        raise HubRefused("the hub's id is none")
    if len(os.fsencode(spec.socket)) > MAX_SOCKET_PATH_BYTES:
        raise HubRefused(f"the socket's path is over {MAX_SOCKET_PATH_BYTES} bytes")
    folder = Path(spec.folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _redirect_output(folder / LOG_NAME, Masker.of_spec(spec))
    os.environ.clear()
    os.environ.update(spec.env)
    os.environ[MARKER] = spec.hub_id
    _show_marker(spec.hub_id)
    _take_name()
    adopt_orphans()
    pid = os.getpid()
    write_pid_file(folder, HubPid(spec.hub_id, spec.session_id, pid, start_mark(pid) or ""))
    return _listen(Path(spec.socket))


def _leave_starter(ready: int) -> None:
    # Order matters: `ready` goes to its place first, then everything above and below it goes.
    if ready != READY_DESCRIPTOR:
        os.dup2(ready, READY_DESCRIPTOR, inheritable=False)
    for name in os.listdir("/dev/fd"):  # not a range: its end may be a billion
        if int(name) > READY_DESCRIPTOR:
            with suppress(OSError):  # the one that listed them
                os.close(int(name))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)


def _redirect_output(log: Path, masker: Masker) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target in (1, 2):
        os.dup2(descriptor, target)
    os.close(descriptor)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(MaskingFormatter("%(asctime)s %(levelname)s %(message)s", masker))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _show_marker(hub_id: str) -> None:
    """Put the marker where others see this process's environment (Linux).

    A forked process shows the fork server's there, and so does each child of its own between fork and exec: if the hub is
    killed in that moment, the marker is all that leads to the child. Nothing else of this process uses the place any
    more: `os.environ` was made again.
    """
    if not sys.platform.startswith("linux"):
        return
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # env_start and env_end in proc(5)
    shown = f"{MARKER}={hub_id}\0".encode()
    if len(shown) <= end - start:
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, shown, len(shown))


def _take_name() -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NAME, b"builderos-hub", 0, 0, 0)


def _listen(path: Path) -> socket.socket:
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o077)  # for the socket alone: what the agent writes has the person's own umask
    try:
        listener.bind(os.fspath(path))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _plain(exc: Exception) -> str:
    """Return a line without the paths and values that an error's own text may hold."""
    detail = exc.strerror if isinstance(exc, OSError) and exc.strerror else ""
    return f"{type(exc).__name__} {detail}".strip()
