"""The standard streams as a command may find them: closed, full, or in an encoding that cannot hold its text."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO, cast

from builderos.client.terminal import OutputError

__all__ = ["finish_output", "output_fault", "prepare_streams"]


_WRITING = frozenset({errno.ENOSPC, errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT})


def prepare_streams() -> None:
    """Make the three streams usable: what is closed reads as empty and fails when written, and no text is too odd.

    A closed descriptor is taken at once, before a file or a socket gets its number and takes what is printed.
    """
    if sys.stdin is None:
        sys.stdin = _open(0, os.O_RDONLY, "r")
    if sys.stdout is None:
        sys.stdout = _open(1, os.O_RDONLY, "w")  # a write fails, and the command says so
    if sys.stderr is None:
        sys.stderr = _open(2, os.O_WRONLY, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and (stream.encoding or "").lower() not in ("utf-8", "utf8"):
            stream.reconfigure(errors="replace")


def finish_output() -> None:
    """Write what is left. Raises OutputError: it cannot be written; BrokenPipeError: nobody reads."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(error.strerror) from error


def output_fault(error: BaseException) -> OutputError | None:
    """Return the fault if an error says that stdout cannot be written, and drop what is left.

    The interpreter would try again at its end, with a status of its own.
    """
    is_write = isinstance(error, OSError) and error.filename is None and error.errno in _WRITING
    if not is_write and not isinstance(error, OutputError):
        return None
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return error if isinstance(error, OutputError) else OutputError(getattr(error, "strerror", None))


def _open(number: int, flags: int, mode: str) -> TextIO:
    descriptor = os.open(os.devnull, flags)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    return cast("TextIO", open(number, mode, encoding="utf-8", errors="replace", closefd=False))
