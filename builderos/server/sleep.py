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
"""Such a command tells the system and returns."""

log = logging.getLogger("builderos.server.sleep")


@attrs.frozen
class SleepCommand:
    """A command of some words; no shell looks at them.

    Attributes:
        command: program and arguments.
        environment: what it runs with, and nothing else.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = attrs.field(repr=False)

    async def run(self) -> bool:
        """Run it to its end; False where it cannot be run, fails, or takes over 10 s, after which it is killed."""
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
        except (OSError, ValueError) as error:  # the latter of a word that no program can be given
            log.error("the sleep command cannot be run: %s", error)
            return False
        if scope.cancelled_caught:
            log.error("the sleep command took over %.0f s", LIMIT_S)
            return False
        if done.returncode != 0:
            log.error("the sleep command ended with status %d", done.returncode)
        return done.returncode == 0


async def _kill_group(process: trio.Process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    await trio.lowlevel.checkpoint()
