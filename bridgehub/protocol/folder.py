"""Where a hub's files lie, and who it is: one folder `DIR/hubs/<hub_id>/` per hub, mode 0700.

The pid file says which process a hub is; the marker in its environment is there for whatever it starts.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import orjson

__all__ = [
    "LEFT_NAME",
    "LOG_NAME",
    "MAX_SOCKET_PATH_BYTES",
    "PID_NAME",
    "SOCKET_NAME",
    "SPOOL_NAME",
    "HubPid",
    "can_join",
    "codex_socket_of",
    "is_hub_id",
    "read_pid_file",
    "refuse_joining",
    "write_pid_file",
]

SOCKET_NAME = "s"
PID_NAME = "pid"
LOG_NAME = "log"
SPOOL_NAME = "spool"
LEFT_NAME = "left"

MAX_SOCKET_PATH_BYTES = 100
"""Bytes of a socket's path: `sun_path` holds 104 on macOS and 108 on Linux, with its end mark."""

CONNECT_S = 1.0
"""How long a program may take to accept a connection, seconds; a full list of those that wait is tried again."""

_HUB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_PID_FILE_BYTES = 4096


@attrs.frozen
class HubPid:
    """What the pid file says. `started` is `process_tree.start_mark` of that process."""

    hub_id: str
    session_id: str
    pid: int
    started: str


def is_hub_id(name: str) -> bool:
    """Tell whether `name` can be a hub's id, and so a folder's name."""
    return _HUB_ID.fullmatch(name) is not None


def codex_socket_of(hub_socket: Path) -> Path | None:
    """Return where a hub's Codex listens, beside the hub's own socket; None if that path is too long."""
    path = hub_socket.with_name(f"{hub_socket.name}x")
    return path if len(os.fsencode(path)) < MAX_SOCKET_PATH_BYTES else None


def refuse_joining(path: str | os.PathLike[str]) -> None:
    """Write down that the hub's Codex cannot be joined at `path`: it runs on pipes, or could not be started."""
    with suppress(OSError):  # then it shows when nobody waits for it any longer
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def can_join(path: Path) -> bool | None:
    """Return whether a program listens at `path`; None if it is not known yet: it may be starting. Blocks."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return False  # see `refuse_joining`
        with socket.socket(socket.AF_UNIX) as tried:
            tried.settimeout(CONNECT_S)
            tried.connect(os.fspath(path))
    except OSError:
        return None
    return True


def write_pid_file(folder: Path, record: HubPid) -> None:
    """Write the pid file so that a reader sees it whole or not at all, and so that it outlives a power cut.

    Without it a hub looks as if it had never started, and its prompt would be sent again.
    """
    new = folder / (PID_NAME + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(attrs.asdict(record)))
        file.flush()
        os.fsync(descriptor)
    new.rename(folder / PID_NAME)
    for changed in (folder, folder.parent):  # the name of the file, and that of its folder
        _sync_folder(changed)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_pid_file(folder: Path) -> HubPid | None:
    """Return what the pid file says; None if there is none or it is damaged."""
    try:
        with (folder / PID_NAME).open("rb") as file:
            raw: Any = orjson.loads(file.read(_MAX_PID_FILE_BYTES))
        record = HubPid(
            hub_id=str(raw["hub_id"]),
            session_id=str(raw["session_id"]),
            pid=int(raw["pid"]),
            started=str(raw["started"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if record.pid > 1 else None
