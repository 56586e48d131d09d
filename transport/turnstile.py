"""One after the other: those who have not signed in, or ask for much, share the event loop with everybody else."""

from __future__ import annotations

from typing import Final

import attrs
import trio

__all__ = ["SMALL_READ_BYTES", "Turnstile", "pause_after"]

SMALL_READ_BYTES: Final = 512
"""A read of fewer bytes costs us more than its sender: a peer that sends many of them is read more slowly."""

FREE_READS: Final = 4
"""Small reads of a request's head that cost nothing."""

SMALL_READ_PAUSE_S: Final = 0.1
"""Until the next read, after a small one. What comes meanwhile is one read: the kernel keeps it."""


@attrs.define(eq=False)
class Turnstile:
    """Lets one task through, in the order of their coming, and then runs everybody else before the next one.

    So what hundreds of strangers bring at the same time delays a device by one of their steps, not by all of them.
    """

    _lock: trio.Lock = attrs.field(factory=trio.Lock)

    async def go_through(self) -> None:
        """Wait for this task's turn. Always a checkpoint."""
        async with self._lock:  # it is handed on at the next turn of the event loop
            return


async def pause_after(data: bytes | bytearray, small_reads: int) -> int:
    """Wait a moment if a read was small and there were several; return how many there were now."""
    if len(data) >= SMALL_READ_BYTES:
        return small_reads
    if small_reads >= FREE_READS:
        await trio.sleep(SMALL_READ_PAUSE_S)
    return small_reads + 1
