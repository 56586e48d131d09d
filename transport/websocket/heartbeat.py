"""Triggers the heartbeat of each connection at its time.

One task for all connections: a deadline for each would cost memory while it idles and time at every write.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs
import trio

__all__ = ["Beating", "Heartbeat"]


class Beating(Protocol):
    """A connection's writer."""

    @property
    def ended(self) -> bool:
        """Whether it has stopped writing."""
        ...

    def heartbeat_now(self) -> None:
        """Queue a heartbeat. Never blocks."""
        ...


@attrs.define(eq=False)
class Heartbeat:
    """A queue in the order of due times, which is the order of joining, since the interval is the same for all."""

    interval_s: float
    _queue: deque[tuple[float, Beating]] = attrs.field(factory=deque)

    def join(self, one: Beating) -> None:
        """Send a heartbeat to `one` every interval, the first after one interval, until it has ended."""
        self._queue.append((trio.current_time() + self.interval_s, one))

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            # A connection that joins an empty queue while this sleeps is not due before it wakes.
            due = self._queue[0][0] if self._queue else trio.current_time() + self.interval_s
            await trio.sleep_until(due)
            if self._queue and self._queue[0][0] <= trio.current_time():
                _, connection = self._queue.popleft()
                if not connection.ended:
                    connection.heartbeat_now()
                    self.join(connection)
