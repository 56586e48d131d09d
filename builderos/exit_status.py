"""Exit statuses of the commands, and the one-line message of a failure."""

from __future__ import annotations

import sys
from contextlib import suppress

from builderos.client.terminal import one_line

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "OK", "fail"]

OK = 0
FAILED = 1
MISUSED = 2
"""A wrong option or config."""

INTERRUPTED = 130
"""As a shell reports a command that ctrl-C ended."""

LINE_LENGTH = 1000


def fail(reason: str, status: int = FAILED) -> int:
    """Print in one line on stderr what went wrong; return `status`."""
    with suppress(OSError):  # the status still says it
        sys.stderr.write(f"builderos: {one_line(reason, LINE_LENGTH)}\n")
        sys.stderr.flush()
    return status
