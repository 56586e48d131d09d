"""Which Codex has a thread open, by the lock that its writer holds. Blocks: use a thread."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bridgehub.desk.live.processes import is_ours, started_at, words_of
from bridgehub.desk.records import Where

__all__ = ["live_threads", "thread_writer"]

_LOCKS = Path("/proc/locks")
MAX_LOCKS = 5000


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
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[1] != "FLOCK" or not words[5].rpartition(":")[2].isdecimal():
            continue
        name = files.get(int(words[5].rpartition(":")[2]), "")
        if name and words[4].lstrip("-").isdecimal() and (told := _writer(home, int(words[4]))) is not None:
            found[name] = told
    return found


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
