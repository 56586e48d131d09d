"""Which Codex has a thread open, by the lock that its writer holds. Blocks: use a thread.

The kernel makes the list of all locks only after every processor has been through its scheduler (6 ms seen on two). So
before each prompt it is asked whether the process that held the lock still does, and the list is read only if not.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from bridgehub.desk.live.processes import is_ours, started_at, words_of
from bridgehub.desk.records import Where

__all__ = ["CodexWriters", "live_threads", "thread_writer"]

_LOCKS = Path("/proc/locks")
MAX_LOCKS = 5000
MAX_HELD = 256
"""Locks whose holders are remembered."""


def thread_writer(home: Path, native_id: str) -> Where | None:
    """Return which program of the person's writes a thread; None if none does."""
    return live_threads(home, native_id).get(native_id)


def live_threads(home: Path, only: str = "*") -> dict[str, Where]:
    """Return by thread which program writes it; programs of ours are left out. `only`: look at one thread."""
    folder = home / "thread-writer-locks"
    files: dict[int, str] = {}
    try:
        names = [f"{only}.lock"] if only != "*" else os.listdir(folder)[:MAX_LOCKS]
        for name in names:
            try:
                files[os.stat(folder / name, follow_symlinks=False).st_ino] = name.removesuffix(".lock")
            except OSError:
                continue
    except OSError:
        return {}
    if not files:
        return {}
    try:
        lines = _LOCKS.read_text().splitlines()
    except (OSError, ValueError):
        return {name: Where("codex", None, "idle", 0) for name in files.values() if _is_locked(folder, name)}
    found: dict[str, Where] = {}
    for inode, pid in _flocks(lines):
        name = files.get(inode, "")
        if name and (told := _writer(home, pid)) is not None:
            found[name] = told
    return found


@attrs.define(eq=False)
class CodexWriters:
    """Says who writes a thread, again and again, of the threads below one `CODEX_HOME`."""

    home: Path
    _held: dict[str, tuple[int, int, str]] = attrs.field(factory=dict)
    """By thread: the lock's inode, who held it, and what the kernel says of that open file."""

    def of(self, native_id: str) -> Where | None:
        """Return what `thread_writer` does."""
        try:
            inode = os.stat(
                self.home / "thread-writer-locks" / f"{native_id}.lock", follow_symlinks=False
            ).st_ino
        except OSError:
            return None
        held = self._held.pop(native_id, None)
        if held is None or held[0] != inode or not _holds(held[2], inode):
            try:
                pid = next(
                    (one for lock, one in _flocks(_LOCKS.read_text().splitlines()) if lock == inode), None
                )
            except (OSError, ValueError):
                return thread_writer(self.home, native_id)
            if pid is None:
                return None
            held = (inode, pid, _place_of(pid, inode))
        self._held[native_id] = held
        while len(self._held) > MAX_HELD:
            del self._held[next(iter(self._held))]
        return _writer(self.home, held[1])


def _place_of(pid: int, inode: int) -> str:
    """Return where the kernel says of a process's open file that it holds a lock; empty if that is not found."""
    try:
        places = (f"/proc/{pid}/fdinfo/{one}" for one in os.listdir(f"/proc/{pid}/fdinfo"))
        return next((place for place in places if _holds(place, inode)), "")
    except OSError:
        return ""


def _holds(place: str, inode: int) -> bool:
    """Tell whether an open file holds a lock (proc(5), `fdinfo`)."""
    try:
        lines = Path(place).read_text().splitlines()
    except (OSError, ValueError):
        return False
    locks = (line.removeprefix("lock:") for line in lines if line.startswith("lock:"))
    return any(lock == inode for lock, _ in _flocks(locks))


def _flocks(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield the inode of each lock of a whole file in the kernel's list, and who holds it."""
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK":
            continue
        inode = words[5].rpartition(":")[2]
        if inode.isdecimal() and words[4].lstrip("-").isdecimal():
            yield int(inode), int(words[4])


def _listens_for_all(home: Path, words: list[str]) -> bool:
    """Tell whether a program listens where terminals look for one."""
    place = home / "app-server-control" / "app-server-control.sock"
    return ("unix://" in words or f"unix://{place}" in words) and place.is_socket()


def _writer(home: Path, pid: int) -> Where | None:
    started = started_at(pid) if pid > 0 else ""
    if started and is_ours(pid):
        return None
    words = words_of(pid) if started else []
    if pid > 0 and not words:
        return None  # it is ending: its memory is gone already, and with it our mark; its lock goes next
    if "app-server" in words:  # it may serve other threads too
        return Where("codex", None, "idle", 0, can_join=_listens_for_all(home, words))
    return Where("codex", pid if started else None, "idle", 0, started)


def _is_locked(folder: Path, native_id: str) -> bool:
    """Try the lock for a moment. A Codex that starts just then asks again."""
    try:
        descriptor = os.open(
            folder / f"{native_id}.lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        )
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return False
