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

CLOCK_S: Final = 1.0
"""How often the clock of the wall is looked at while a session waits for a moment: it may be set, or have slept."""

LOOK_S: Final = 30.0
"""How often it is looked which sessions are due, at least."""

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
            await self._wait_until(await self._start_due())

    async def _start_due(self) -> int | None:
        """Start the owners whose time has come; return when to look again, by the clock of the wall."""
        again_ms: int | None = None
        try:
            for session_id, at_ms in await self.catalog.due(DUE_AT_ONCE):
                if at_ms > self.clock():
                    return at_ms if again_ms is None else min(again_ms, at_ms)
                again_ms = self.clock() + int(DUE_AGAIN_S * 1000)
                self.start(session_id)
        except StorageError as exc:
            _log.warning("it is not known which sessions are due: %s", exc)
        return again_ms

    async def _wait_until(self, at_ms: int | None) -> None:
        """Wait for a moment, or for a wake; not over `LOOK_S`."""
        latest = trio.current_time() + LOOK_S
        while not self._wake.is_set() and trio.current_time() < latest:
            left_s = LOOK_S if at_ms is None else min((at_ms - self.clock()) / 1000, CLOCK_S)
            if left_s <= 0:
                return
            with trio.move_on_at(min(latest, trio.current_time() + left_s)):
                await self._wake.wait()
