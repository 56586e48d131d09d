"""`builderos serve --take-over`: ends the server that holds a data folder, and no other process."""

from __future__ import annotations

from pathlib import Path

import psutil

from storage.folder import read_holder

__all__ = ["end_holder"]

POLITE_S = 15.0
"""How long the holder may take to shut down: it closes its devices, lets busy hubs go and writes its
database.
"""

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
        try:
            process.wait(POLITE_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(KILL_S)
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise PermissionError(f"{holder} belongs to somebody else") from error
    except psutil.TimeoutExpired as error:
        raise PermissionError(f"{holder} cannot be ended") from error
