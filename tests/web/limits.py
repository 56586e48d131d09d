"""A limit for waits that have none of their own: calls into a browser or its driver, reads from a pipe.

A signal interrupts the wait wherever the main thread is, also inside of Playwright's event loop, and raises `HungError`
there. It comes again until the block ends, since a callback may swallow the first one.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["HungError", "at_most"]

AGAIN_S = 2.0


class HungError(Exception):
    """Something took longer than its limit."""


@contextmanager
def at_most(limit_s: float, what: str) -> Iterator[None]:
    """Raise HungError, with `what`, if the block takes longer. Only in the main thread; blocks may be nested."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise HungError(f"{what}: not within {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    left, again = signal.setitimer(signal.ITIMER_REAL, limit_s, AGAIN_S)
    began = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)), again)
