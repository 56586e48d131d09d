"""`builderos serve --take-over`: ends the server that holds a data folder, and no other process."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from storage.data_folder import read_holder

__all__ = ["end_holder"]

GRACE_S = 15.0
"""How long the holder may take to shut down: it closes its devices, releases busy hubs and writes its database.
"""

LOOK_S = 0.02
"""Poll interval: the end of a process that is not our child can only be polled."""

KILL_S = 5.0
"""How long a killed process may take to end."""


def end_holder(data: Path) -> None:
    """End the server that holds `data`, by SIGTERM and then by force; return once it has ended. Blocks.

    The holder is found by its process id and start time; if it no longer runs, nothing is done. Its hubs are left
    alone, so turns continue.

    Raises:
        PermissionError: the process belongs to another user.
    """
    holder = read_holder(data)
    if holder is None or not holder.is_running():
        return
    try:
        process = psutil.Process(holder.pid)
        if not holder.is_running():
            return
        process.terminate()  # psutil compares the start time once more before each signal
        if not _wait_gone(process, GRACE_S):
            process.kill()
            if not _wait_gone(process, KILL_S):
                raise PermissionError(f"{holder} cannot be stopped")
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise PermissionError(f"{holder} belongs to another user") from error


def _wait_gone(process: psutil.Process, limit_s: float) -> bool:
    """Wait until the process has ended. A zombie counts as ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(LOOK_S)
    return False
