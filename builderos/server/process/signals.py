"""Turns a signal into an orderly shutdown."""

from __future__ import annotations

import logging
import signal

import attrs
import trio

__all__ = ["SHUTDOWN_S", "Shutdown"]

SHUTDOWN_S = 30.0
"""How long an orderly shutdown may take before everything is cancelled. Promised writes are on disk in any case.
"""

log = logging.getLogger("builderos.server")


@attrs.define(eq=False)
class Shutdown:
    """The first signal starts an orderly shutdown, the second one ends the server at once.

    Attributes:
        asked: set by the first signal.
        stop_hubs: whether that was SIGINT: every hub of the data folder is to end too.
    """

    asked: trio.Event = attrs.field(factory=trio.Event)
    stop_hubs: bool = False

    async def run(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Watch for signals until cancelled. The second one, or the time limit, cancels `scope`."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                name = signal.Signals(number).name
                if self.asked.is_set():
                    log.warning("%s again: ending at once", name)
                    scope.cancel(reason=f"{name} again")
                    return
                log.info("%s: shutting down", name)
                self.stop_hubs = number == signal.SIGINT
                scope.deadline = trio.current_time() + SHUTDOWN_S
                self.asked.set()
