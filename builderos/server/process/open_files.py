"""How many files this process may open, and how many connections that allows."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["connections_for", "raise_file_limit"]

LEAST_RESERVE: Final = 128
"""Open files that are not connections: the database and its readers, logs, sockets of hubs, uploads in progress."""

RESERVED_SHARE: Final = 4
"""One file in this many is reserved, if that is more: a session's hub takes two."""


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
