"""Which process is which. Blocks for a moment: use a thread."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from bridgehub.protocol.process_tree import MARKER

__all__ = ["end_politely", "is_ours", "runs_since", "started_at", "words_of"]

CLOCKS_MS = 60_000
"""How far a program's own word on its start may be from the system's, if nothing more exact is known."""


def started_at(pid: int) -> str:
    """Return what distinguishes a process from a later one of the same id; empty if it does not run."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
        state, *rest = data[data.rindex(b")") + 2 :].split()
        return "" if state in (b"Z", b"X") else rest[18].decode()
    except (OSError, ValueError, IndexError):
        pass
    if os.path.isdir("/proc/self"):
        return ""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return ""


def runs_since(pid: int, started: str, since_ms: object) -> bool:
    """Tell whether a process runs that noted this of its own start."""
    now = started_at(pid)
    if now == started or not now or os.path.isdir("/proc/self"):
        return bool(now) and now == started
    return isinstance(since_ms, int) and abs(float(now) * 1000 - since_ms) < CLOCKS_MS


def is_ours(pid: int) -> bool:
    """Tell whether a hub started a process, or one above it."""
    try:
        return MARKER in psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return False


def _is_surely_not_ours(pid: int) -> bool:
    """Tell whether a process has an environment without our mark; one that only starts has none yet."""
    try:
        environment = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return False
    return bool(environment) and MARKER not in environment


def words_of(pid: int) -> list[str]:
    """Return a process's command line; empty if it cannot be known."""
    try:
        return list(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError):
        return []


def end_politely(pid: int, started: str) -> bool:
    """Ask exactly this process to end; return whether it was asked. Never another one that has its id now."""
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:
        return False
    try:
        if started_at(pid) != started or not _is_surely_not_ours(pid):
            return False
        if handle is not None:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        else:
            os.kill(pid, signal.SIGTERM)
    except OSError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True
