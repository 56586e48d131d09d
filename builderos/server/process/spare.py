"""Whether the machine can spare power and memory for a program that may not be needed."""

from __future__ import annotations

import importlib
from typing import Final

import trio

__all__ = ["can_spare"]

FREE_BYTES: Final = 1024**3
"""Less free memory than this is kept for what is needed for certain."""


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
