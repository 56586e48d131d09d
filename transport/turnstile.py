"""Makes strangers and busy clients take turns, so that they share the event loop fairly with all others."""

from __future__ import annotations

from typing import Final

import attrs
import trio

__all__ = ["SMALL_READ_BYTES", "Turnstile", "pause_after"]

SMALL_READ_BYTES: Final = 512
"""A read of fewer bytes costs the server more than its sender: a peer that sends many small pieces is read more
slowly."""

FREE_READS: Final = 4
"""Small reads of a request's head that cost nothing."""

SMALL_READ_PAUSE_S: Final = 0.1
"""Pause after a small read. Data that arrives meanwhile becomes one read: the kernel buffers it."""


@attrs.define(eq=False)
class Turnstile:
    """Lets one task through at a time, in order of arrival, and then runs all other tasks before the next one.

    So hundreds of strangers at the same time delay a device by one of their steps, not by all of them.
    """

    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def go_through(self) -> None:
        """Wait for this task's turn. Always a checkpoint."""
        async with self._lock:  # it passes on at the next turn of the event loop
            return


async def pause_after(data: bytes | bytearray, small_reads: int) -> int:
    """Pause if a read was small and several were; return how many small reads there were now."""
    if len(data) >= SMALL_READ_BYTES:
        return small_reads
    if small_reads >= FREE_READS:
        await trio.sleep(SMALL_READ_PAUSE_S)
    return small_reads + 1
