"""Who holds a data folder: the note in its lock file. Loads little, so that a terminal starts fast."""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

__all__ = ["LOCK_NAME", "NOTE_BYTES", "Holder", "read_holder", "read_note"]

LOCK_NAME = "lock"

NOTE_BYTES = 4_096
"""The most that is read of the note in the lock file; ours has about a hundred bytes."""

START_TOLERANCE_S = 1.0
"""Two readings of one process's start time differ by less. A process id is not reused that fast."""


@attrs.frozen
class Holder:
    """The process that holds the folder. `address` is where it listens; empty until it does."""

    pid: int
    started_at_s: float
    address: str

    def __str__(self) -> str:
        return f"process {self.pid}" + (f" at {self.address}" if self.address else "")

    def is_running(self) -> bool:
        """Return whether this very process still runs, not a later one with the same number."""
        import psutil  # takes time to load, and most readers of a note do not need it

        try:
            started_at_s = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return False
        return bool(abs(started_at_s - self.started_at_s) < START_TOLERANCE_S)


def read_holder(path: Path) -> Holder | None:
    """Return the process that holds the data folder, or held it last; None if nobody ever did.

    `Holder.is_running` says whether it still runs.
    """
    try:
        lock_fd = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return read_note(lock_fd)
    finally:
        os.close(lock_fd)


def read_note(lock_fd: int) -> Holder | None:
    """Return what the open lock file says; None if it says nothing yet."""
    try:
        note = json.loads(os.pread(lock_fd, NOTE_BYTES, 0))
        return Holder(int(note["pid"]), float(note["started_at"]), str(note["address"]))
    except (ValueError, TypeError, KeyError):
        return None  # just created, not written yet
