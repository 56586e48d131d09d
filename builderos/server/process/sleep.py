"""Runs the command that puts the machine to sleep."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
import trio

__all__ = ["SleepCommand"]

LIMIT_S: Final = 10.0
"""Such a command triggers the sleep and returns at once."""

log = logging.getLogger("builderos.server.sleep")


@attrs.frozen
class SleepCommand:
    """An argv list, run without a shell.

    Attributes:
        command: program and arguments.
        environment: the command's whole environment.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = attrs.field(repr=False)

    async def run(self) -> bool:
        """Run it to its end. False if it cannot be run, fails, or takes over 10 s; then it is killed."""
        try:
            with trio.move_on_after(LIMIT_S) as scope:
                done = await trio.run_process(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    start_new_session=True,
                    env=self.environment,
                    deliver_cancel=_kill_group,
                )
        except (OSError, ValueError) as error:  # ValueError: an argument has a null character
            log.error("sleep command: cannot be run: %s", error)
            return False
        if scope.cancelled_caught:
            log.error("sleep command: killed after %.0f s", LIMIT_S)
            return False
        if done.returncode != 0:
            log.error("sleep command: failed with status %d", done.returncode)
        return done.returncode == 0


async def _kill_group(process: trio.Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    await trio.lowlevel.checkpoint()
