"""Starts the owners of sessions whose time comes while nobody uses them: a message for later, a queue that was held."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import attrs
import trio

from actors.ports import Catalog, Clock
from storage.errors import StorageError

__all__ = ["Timekeeper"]

CLOCK_S: Final = 30.0
"""How often it is looked which sessions are due, at least: the clock of the wall may be set."""

DUE_AT_ONCE: Final = 500
"""Sessions that are started at once because their time came."""

DUE_AGAIN_S: Final = 0.5
"""When it is looked again after some were due: their owners take them in the meantime."""

_log = logging.getLogger("builderos.actors")


@attrs.define(eq=False)
class Timekeeper:
    """Keeps the time of all sessions.

    Attributes:
        start: starts a session's owner, which then keeps its own time. Must not block.
    """

    catalog: Catalog
    clock: Clock
    start: Callable[[str], None]
    _wake: trio.Event = attrs.field(factory=trio.Event, init=False)

    def look(self) -> None:
        """Look again at once: an owner left, so what it waited for is the timekeeper's from now on. Never blocks."""
        self._wake.set()

    async def run(self) -> None:
        """Start owners when it is time, until cancelled."""
        while True:
            self._wake = trio.Event()
            wait_s = CLOCK_S
            try:
                for session_id, at_ms in await self.catalog.due(DUE_AT_ONCE):
                    left_s = (at_ms - self.clock()) / 1000
                    if left_s > 0:
                        wait_s = min(wait_s, left_s)
                        break
                    wait_s = DUE_AGAIN_S
                    self.start(session_id)
            except StorageError as exc:
                _log.warning("it is not known which sessions are due: %s", exc)
            with trio.move_on_after(wait_s):
                await self._wake.wait()
