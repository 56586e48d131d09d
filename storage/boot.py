"""Which run of the machine this is: after a power cut the answer is another one."""

from __future__ import annotations

from pathlib import Path

import psutil

__all__ = ["read_boot_id"]

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return a text that changes when the machine starts anew. Reads a file of the kernel; call it at the
    start.

    Without Linux it is the second of the last start. A clock that is set may shift that; at worst a device
    then loads a session anew after an unclean end.
    """
    if _LINUX.exists():
        return _LINUX.read_text(encoding="ascii").strip()
    return f"boot-{int(psutil.boot_time())}"
