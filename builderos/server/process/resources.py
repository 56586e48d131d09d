"""What the machine can give: how many files this process may open, how many connections that allows, and whether there is
power and memory to spare for a program that may not be needed. And what goes back to it: memory that was freed.
"""

from __future__ import annotations

import ctypes
import importlib
import resource
from typing import Final

import trio

__all__ = ["can_spare", "connections_for", "give_back_memory", "raise_file_limit"]

LEAST_RESERVE: Final = 128
"""Open files that are not connections: the database and its readers, logs, sockets of hubs, uploads in progress."""

RESERVED_SHARE: Final = 4
"""One file in this many is reserved, if that is more: a session's hub takes two."""

FREE_BYTES: Final = 1024**3
"""Less free memory than this is kept for what is needed for certain."""


def raise_file_limit() -> int:
    """Raise the limit of open files as far as the system allows; return the limit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wanted in (hard, 10_240):  # macOS reports infinity and accepts OPEN_MAX
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_for(wanted: int, open_files: int) -> int:
    """Return how many connections the server accepts: `wanted`, or as many as the limit of open files allows.

    Connections that are turned away come on top of that, up to a quarter of it (`TransportConfig.places`).
    """
    if open_files in (resource.RLIM_INFINITY, -1):
        return wanted
    room = open_files - max(LEAST_RESERVE, open_files // RESERVED_SHARE)
    return max(1, min(wanted, room * 4 // 5))


async def can_spare() -> bool:
    """Return False on battery, or with less than 1 GiB of free memory. What the system does not say counts as enough."""
    return await trio.to_thread.run_sync(_look)


def _look() -> bool:
    psutil = importlib.import_module("psutil")  # 3 MB that a server without such a wish has no use for
    try:
        if psutil.virtual_memory().available < FREE_BYTES:
            return False
        battery = getattr(psutil, "sensors_battery", lambda: None)()
    except (OSError, RuntimeError, NotImplementedError):  # a machine whose files look otherwise
        return True
    return battery is None or battery.power_plugged is not False


async def give_back_memory() -> bool:
    """Let the C library return freed memory to the system; False if it has no call for that.

    glibc keeps what lies below the last piece in use: 3 MiB after an answer of 20,000 words. The call takes 0.1 ms, and
    milliseconds if a hundred MB were freed, so a thread does it.
    """
    return await trio.to_thread.run_sync(_trim)


def _trim() -> bool:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return trim is not None
