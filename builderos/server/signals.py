"""How a signal becomes an orderly end."""

from __future__ import annotations

import logging
import signal

import attrs
import trio

__all__ = ["SHUTDOWN_S", "Shutdown"]

SHUTDOWN_S = 30.0
"""How long an orderly end may take; then everything is cancelled. What was promised is on disk in any
case.
"""

log = logging.getLogger("builderos.server")


@attrs.define(eq=False)
class Shutdown:
    """The first signal asks for an orderly end, the second one for an immediate end.

    Attributes:
        asked: set by the first signal.
        stop_hubs: whether that was SIGINT: every hub of the data folder is to end too.
    """

    asked: trio.Event = attrs.field(factory=trio.Event)
    stop_hubs: bool = False

    async def run(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Watch for signals until cancelled. `scope` is what the second one, or the time limit, cancels."""
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
