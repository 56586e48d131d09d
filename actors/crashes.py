"""One crash stays one crash: the only place where a child's errors are caught, and how often it may crash.

Words are OTP's: children are `one_for_one` and `transient` (started again after a crash, not after a good end);
`intensity` crashes in `period` are borne, one more and the child is given up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

__all__ = ["CrashRecord", "run_guarded"]


async def run_guarded(child: Callable[[], Awaitable[None]]) -> Exception | None:
    """Run `child` to its end and return what it died of, None after a good end.

    `Cancelled` and other BaseExceptions flow through, also out of a group that holds errors besides.
    """
    died_of: Exception | None = None
    try:
        await child()
    except* Exception as group:
        died_of = group
    return died_of


@attrs.define(eq=False)
class CrashRecord:
    """When a child crashed, as far back as its period reaches."""

    intensity: int
    period_s: float
    _times: tuple[float, ...] = ()

    def is_too_many(self, now: float) -> bool:
        """Note a crash at `now` (monotonic seconds) and tell whether the child is to be given up."""
        self._times = (*(at for at in self._times if at > now - self.period_s), now)
        return len(self._times) > self.intensity

    def clear(self) -> None:
        """Forget all, for a child that is given another chance."""
        self._times = ()
