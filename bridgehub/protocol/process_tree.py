"""Find and kill all processes of a hub. Blocking: run it on a thread.

An agent's tools get away from a plain kill: they run in sessions of their own, ignore SIGTERM, and belong to
process 1 once their parent is dead. Two threads lead to them. *Parent links*: while the hub lives it adopts
the orphans below it (child subreaper, Linux), so its descendants are complete. *The marker*: every process
that the hub started has `BUILDEROS_HUB=<hub id>` in its environment, whatever its parent is by now. A process in the
middle of an exec shows no environment at all for some microseconds (Linux), so it is looked at again.

No stranger is ever signalled: each process is held by pid **and** start, which psutil compares before each
signal, and the hub itself is recognised by the start mark in its pid file.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = [
    "MARKER",
    "TASK_MARKER",
    "TreeKillFailed",
    "has_children",
    "is_alive",
    "kill_descendants",
    "kill_tree",
    "marked_hubs",
    "start_mark",
    "terminate",
    "wait_gone",
]

MARKER = "BUILDEROS_HUB"

TASK_MARKER = "DELEGATED_TASK"
"""What the processes of a delegate have besides, so that one task can be ended without its neighbours."""

KILL_LIMIT_S = 10.0
"""How long a kill may take: a process in uninterruptible sleep may take this long to die."""

_ROUND_S = 0.5
"""How long one round waits for its dead before it looks again."""

_DOUBT_S = 0.25
"""How long one look may take if new processes appear all the time, or a young one shows no environment: an exec
is far from it, and one that has none for good costs this much."""

_DOUBT_ROUND_S = 0.002
_YOUNG_S = 5.0
"""A process older than this is in no exec that began with a fork."""

_PF_KTHREAD = 0x00200000

_LINUX = sys.platform == "linux"


class TreeKillFailed(Exception):
    """Processes of a hub were still there after `KILL_LIMIT_S`; `pids` names them."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        super().__init__(f"processes did not die: {pids}")
        self.pids = pids


def start_mark(pid: int) -> str | None:
    """Return a word that no other process with this pid ever has; None if there is no such process.

    On Linux the boot and the clock tick of its start: unlike a wall time it stays the same when the clock is
    set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _portable_mark(pid)
    ticks = stat.rpartition(b")")[2].split()[19].decode()
    return f"{boot}:{ticks}"


def _portable_mark(pid: int) -> str | None:
    with suppress(psutil.Error):
        return f"{psutil.Process(pid).create_time():.2f}"
    return None


def is_alive(pid: int, started: str) -> bool:
    """Return whether the process is there, is the one that `started` marks, and is not a zombie."""
    leader = _leader(pid, started)
    return leader is not None and _lives(leader)


def terminate(pid: int, started: str) -> bool:
    """Send SIGTERM to exactly that process; False if it is gone."""
    leader = _leader(pid, started)
    return leader is not None and _send(leader, signal.SIGTERM)


def has_children() -> bool:
    """Tell whether the calling process has any child, dead or alive."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def marked_hubs() -> set[str]:
    """Return the ids of hubs of which any marked process lives."""
    found: set[str] = set()
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            marker = process.environ().get(MARKER)
            if marker is not None and _lives(process):
                found.add(marker)
    return found


def kill_tree(
    hub_id: str, pid: int | None = None, started: str | None = None, *, variable: str = MARKER
) -> int:
    """Kill a hub and every process of its tree; return how many there were.

    The hub is stopped first so that it starts nothing new while it still adopts orphans, then its descendants
    are killed until none is left, then the hub, then all that carry the marker until a look finds none. The
    caller itself is spared.

    Args:
        hub_id: the marker's value.
        pid, started: the tree's first process, if it is known.
        variable: the marker: `TASK_MARKER` for the tree of a delegate.

    Raises:
        TreeKillFailed: something did not die in time.
    """
    killed: set[int] = set()
    leader = _leader(pid, started) if pid is not None and started is not None else None
    if leader is not None and _send(leader, signal.SIGSTOP):
        try:
            _kill_until_none(hub_id, leader, killed, variable)
        finally:
            killed.add(leader.pid)
            _send(leader, signal.SIGKILL)
            wait_gone([leader], KILL_LIMIT_S)
    _kill_until_none(hub_id, None, killed, variable)
    return len(killed)


def kill_descendants(hub_id: str) -> int:
    """Kill every process of the hub that calls this, but the caller itself; return how many there were.

    Raises:
        TreeKillFailed: something did not die in time.
    """
    killed: set[int] = set()
    _kill_until_none(hub_id, psutil.Process(), killed)
    return len(killed)


def _kill_until_none(
    hub_id: str, leader: psutil.Process | None, killed: set[int], variable: str = MARKER
) -> None:
    deadline = time.monotonic() + KILL_LIMIT_S
    while found := _find(hub_id, leader, variable):
        if time.monotonic() > deadline:
            raise TreeKillFailed(tuple(process.pid for process in found))
        for process in found:
            if _send(process, signal.SIGKILL):
                killed.add(process.pid)
        wait_gone(found, _ROUND_S)


def _find(hub_id: str, leader: psutil.Process | None, variable: str) -> list[psutil.Process]:
    """Return living descendants of `leader` and all others with the marker, never `leader` or the caller.

    The list of processes is not of a single moment: one that starts another and ends, while others are looked at, leaves a
    child that was not on the list. So there is none only if a new list brings nothing new.
    """
    spared = {os.getpid(), leader.pid if leader is not None else 0}
    found: list[psutil.Process] = []
    if leader is not None:
        with suppress(psutil.Error):
            found = [child for child in leader.children(recursive=True) if child.pid not in spared]
    known = spared | {process.pid for process in found}
    patience = time.monotonic() + _DOUBT_S
    while True:
        fresh = [pid for pid in psutil.pids() if pid not in known]
        in_doubt = 0
        for pid in fresh:
            process: psutil.Process | None = None
            carries = _carries(pid, variable, hub_id)
            if carries:
                with suppress(psutil.Error):
                    process = psutil.Process(pid)
                # Only now psutil holds it, and it must be the one that was looked at: one that shows nothing
                # may be a stranger who has the id since.
                carries = _carries(pid, variable, hub_id)
            if carries is None:
                in_doubt += 1
                continue
            known.add(pid)
            if carries and process is not None:
                found.append(process)
        living = [process for process in found if _lives(process)]
        if living or not fresh or time.monotonic() > patience:
            return living
        if len(fresh) == in_doubt:
            time.sleep(_DOUBT_ROUND_S)


def _carries(pid: int, variable: str, value: str) -> bool | None:
    """Tell whether a process has the marker; None if nobody can tell just now.

    A scan asks this of every process of the machine, for every hub that ends, and holds up the server's other
    threads meanwhile. A `psutil.Process` costs ten times as much.
    """
    if not _LINUX:
        try:
            return bool(psutil.Process(pid).environ().get(variable) == value)
        except (psutil.Error, OSError):
            return False
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
        if not environ:
            return None if _is_young(pid) else False
    except OSError:
        return False  # it is gone, or a stranger's
    return f"{variable}={value}".encode() in environ.split(b"\0")


def _is_young(pid: int) -> bool:
    """Tell whether this is a program's process, alive, and was forked a moment ago. Raises OSError."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    if fields[0] in (b"Z", b"X") or int(fields[6]) & _PF_KTHREAD:
        return False
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return age_s < _YOUNG_S


def _leader(pid: int, started: str) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return None
    # In this order: psutil holds the process that has the pid now, and the mark then says that it is ours.
    return process if start_mark(pid) == started else None


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)  # compares the start time first
    except (psutil.Error, OSError):
        return False
    return True


def wait_gone(processes: Iterable[psutil.Process], limit_s: float) -> None:
    """Wait until none of them lives, for `limit_s` at most. Blocks. A zombie counts as gone: another may reap it."""
    deadline = time.monotonic() + limit_s
    pause = 0.001
    left = list(processes)
    while (left := [process for process in left if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
