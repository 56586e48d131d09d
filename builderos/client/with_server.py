"""Finds the server of a command and prints in one line why it cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from builderos.client.state import RefusedError
from builderos.client.wire.server import LinkLostError, NoServerError, Server, find_server
from builderos.exit_status import fail

__all__ = ["Find", "Where", "with_server"]

Where = tuple[Path, str | None, str | None]
"""A data folder, and the `--url` and `--key` that override what it says."""

Find = Callable[[], Server]
"""Returns the server's current address; raises NoServerError."""


def with_server(where: Where, work: Callable[[Find], int]) -> int:
    """Do the work of a command; return its exit status, or that of the failure that was printed."""
    data, url, key = where
    if key is None and url is not None:
        # Unlike an option, other users of the machine cannot see it.
        key = os.environ.get("BUILDEROS_API_KEY")
    try:
        return work(lambda: find_server(data, url, key))
    except NoServerError as error:
        return fail(str(error))
    except LinkLostError as error:
        return fail(f"the server cannot be reached: {error}")
    except RefusedError as error:
        return fail(f"the server refuses: {error}")
