"""The processes of one run of a program, marked by an environment variable."""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress

import psutil

from bridgehub.protocol.process_tree import wait_gone

__all__ = ["RUN", "kill_marked"]

RUN = "BUILDEROS_CODEX_RUN"
"""The environment variable that marks the program and all that it starts."""

CALL = "CODEX_TOOL_CALL_ID"
"""The variable by which the program itself marks what a command starts. Its value is the item's id."""

KILL_ROUNDS = 5
"""How many times to look for remaining processes, because a dying process may start others."""

GONE_S = 1.0
"""How long a killed process may take to end, seconds."""


def kill_marked(run_id: str, spared: Container[str] | None = None) -> None:
    """Kill all processes of a run, or only those of its commands, except the spared ones.

    Blocks for about 50 ms on a machine with a few hundred processes.
    """
    for _ in range(KILL_ROUNDS):
        found = [process for pid in psutil.pids() if (process := _marked(pid, run_id, spared)) is not None]
        if not found:
            return
        for process in found:
            with suppress(psutil.Error):
                process.kill()
        wait_gone(found, GONE_S)


def _marked(pid: int, run_id: str, spared: Container[str] | None) -> psutil.Process | None:
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        env = process.environ()
        if env.get(RUN) != run_id or process.status() == psutil.STATUS_ZOMBIE:
            return None
        if spared is None or (CALL in env and env[CALL] not in spared):
            return process
    return None
