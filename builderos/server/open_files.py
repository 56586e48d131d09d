"""How many files this process may have open, and how many connections fit in."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["connections_for", "raise_file_limit"]

LEAST_RESERVE: Final = 128
"""Open files that are no connections: the database and its readers, logs, sockets of hubs, uploads on their way."""

RESERVED_SHARE: Final = 4
"""One file in so many is reserved, if that is more: a session's hub takes two."""


def raise_file_limit() -> int:
    """Take as many open files as the system allows; return how many that are."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for wanted in (hard, 10_240):  # macOS says infinity and takes OPEN_MAX
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def connections_for(wanted: int, open_files: int) -> int:
    """Return how many connections the server takes: `wanted`, or what the limit of open files has room for.

    Strangers that are turned away come on top of that, up to a quarter of it (`TransportConfig.places`).
    """
    if open_files in (resource.RLIM_INFINITY, -1):
        return wanted
    room = open_files - max(LEAST_RESERVE, open_files // RESERVED_SHARE)
    return max(1, min(wanted, room * 4 // 5))
