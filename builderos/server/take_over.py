"""`builderos serve --take-over`: ends the server that holds a data folder, and no other process."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from storage.data_folder import read_holder

__all__ = ["end_holder"]

GRACE_S = 15.0
"""How long the holder may take to shut down: it closes its devices, lets busy hubs go and writes its
database.
"""

LOOK_S = 0.02
"""How often to look: the end of a process that is no child of ours can only be seen by looking."""

KILL_S = 5.0
"""How long a killed process may take to be gone."""


def end_holder(data: Path) -> None:
    """End the server that holds `data`, politely and then by force; return once it is gone. Blocks.

    The process is the one that took the lock, by its number and its start time; where that one is gone,
    nothing is done. Its hubs are left alone, so that turns go on.

    Raises:
        PermissionError: the process is somebody else's.
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
                raise PermissionError(f"{holder} cannot be ended")
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise PermissionError(f"{holder} belongs to somebody else") from error


def _wait_gone(process: psutil.Process, limit_s: float) -> bool:
    """Wait until the process has ended; one that its parent has not looked at yet counts as ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(LOOK_S)
    return False
