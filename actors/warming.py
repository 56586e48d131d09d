"""How much is started before anybody has sent a message: one for the whole server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

__all__ = ["WarmPlaces"]

AGAIN_S: Final = 60.0
"""A session is started at most once in this time (PROTOCOL section 8); what is asked in between means nothing."""

HELD_S: Final = 150.0
"""How long a place is held at most: the program has stopped by then, also that of a session whose actor failed."""


async def _always() -> bool:
    await trio.lowlevel.checkpoint()
    return True


@attrs.define(eq=False)
class WarmPlaces:
    """Places for programs that run for a message which has not come.

    Attributes:
        limit: how many there are at once.
        affords: whether the machine can spare the power and the memory now.
    """

    limit: int = 3
    affords: Callable[[], Awaitable[bool]] = _always
    _begun: dict[str, float] = attrs.field(factory=dict)
    _held: dict[str, float] = attrs.field(factory=dict)

    async def may(self, session_id: str, *, starts: bool) -> bool:
        """Return whether a session's program may be started now.

        Args:
            session_id: the session.
            starts: whether its hub is started for it, which takes a place; one that runs anyway takes none.
        """
        now = trio.current_time()
        self._forget(now)
        has_room = not starts or session_id in self._held or len(self._held) < self.limit
        if self.limit < 1 or session_id in self._begun or not has_room:
            await trio.lowlevel.checkpoint()
            return False
        self._begun[session_id] = now
        if starts:
            self._held[session_id] = now
        if await self.affords():
            return True
        self._held.pop(session_id, None)
        return False

    def release(self, session_id: str) -> None:
        """Give the place back: the message came, or the program has stopped."""
        self._held.pop(session_id, None)

    def _forget(self, now: float) -> None:
        for times, limit_s in ((self._begun, AGAIN_S), (self._held, HELD_S)):
            for session_id in [one for one, at in times.items() if now - at >= limit_s]:
                del times[session_id]
