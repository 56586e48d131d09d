"""Adopts the orphans below a hub and reaps them (Linux), and nobody else's children.

A dead child of the hub is either one that a driver waits for, which is reaped at once, or an adopted orphan,
which is nobody's. So whatever stays unreaped for twice `GRACE_S` is an orphan. Reaping by `waitpid(-1)` would
take the exit status from under the driver.

Children die all the time: each checkpoint runs git. So one system call shows first whether any dead child is left, and
only if one is left after a pause the processes of the machine are listed, on a thread: that takes milliseconds.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

__all__ = ["adopt_orphans", "reap_orphans", "zombie_children"]

GRACE_S = 5.0
"""How long a task that waits for a child has to reap it. It takes milliseconds."""

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have orphans below this process become its children (Linux), so that none gets away from it."""
    if not sys.platform.startswith("linux"):
        return
    prctl: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        logging.getLogger("builderos.bridgehub").warning("this kernel knows no child subreaper")


async def reap_orphans(died: trio.lowlevel.ParkingLot, grace_s: float = GRACE_S) -> None:
    """Reap until cancelled; `died` is unparked when a child died (SIGCHLD)."""
    while True:
        while _has_dead_child():
            await trio.sleep(grace_s)
            if not _has_dead_child():
                break
            candidates = await _zombies()
            await trio.sleep(grace_s)
            for pid in candidates & await _zombies():
                _reap(pid)
        await died.park()


def _has_dead_child() -> bool:
    with suppress(ChildProcessError):
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return False


async def _zombies() -> set[int]:
    return await trio.to_thread.run_sync(zombie_children, os.getpid(), abandon_on_cancel=True)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def zombie_children(parent: int) -> set[int]:
    """Return the pids of dead children of `parent` that nobody has reaped, from `/proc`. It blocks."""
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):
            fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] == b"Z" and int(fields[1]) == parent:
                found.add(int(entry))
    return found
