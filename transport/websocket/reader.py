"""Reads a WebSocket peer at its allowed rate, and passes a few whole frames at once to trio-websocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from transport.limits import SMALL_READ_BYTES, STRANGER_BURST, STRANGER_FRAMES_PER_S, FrameRate, Turnstile
from transport.websocket.frames import Incoming

__all__ = ["FrameReader"]

READ_BYTES: Final = 64 * 1024
"""Bytes of one read. Small reads make large frames slow; an idle connection holds no buffer either way."""

SLICE: Final = 16
STRANGER_SLICE: Final = 4
"""Units of work that are passed on before another task runs: about half a millisecond; before the sign-in less."""

FREE_WORK: Final = 4
"""Units of work of a stranger that need not wait for a turn: its first frame, which may have the key."""

QUIET_WORK: Final = 64
"""Units of work that a device may send at once before it takes turns with other busy devices."""


def _strange_rate() -> FrameRate:
    return FrameRate(per_s=STRANGER_FRAMES_PER_S, burst=STRANGER_BURST)


@attrs.define(eq=False)
class FrameReader:
    """The reader of one connection.

    Attributes:
        turnstile: shared by all connections of the port.
        incoming: bytes that were read and not passed on yet.
    """

    turnstile: Turnstile = attrs.field(factory=Turnstile)
    incoming: Incoming = attrs.field(factory=Incoming)
    _rate: FrameRate = attrs.field(factory=_strange_rate)
    _waits: trio.Event | None = None

    def trust(self) -> None:
        """Switch to a device's rate: the peer has signed in. Never blocks."""
        self.incoming.trusted = True
        self._rate = FrameRate()
        self._go_on()

    def close(self) -> None:
        """Pass on only control frames from now on: our close frame is sent. Never blocks."""
        self.incoming.closing = True
        self._go_on()

    async def read(self, receive: Callable[[int], Awaitable[bytes | bytearray]]) -> bytes:
        """Return the next frames; nothing at the peer's end, or once `incoming.refused` is set.

        Passes a checkpoint before each return. If the peer may send nothing more, it waits until it is cancelled.

        Raises:
            BrokenResourceError, ClosedResourceError: from `receive`.
        """
        incoming = self.incoming
        while True:
            taken = incoming.take(SLICE if incoming.trusted else STRANGER_SLICE)
            if taken.work:
                await self._pay(taken.work)
                if taken.data:
                    return taken.data
            elif incoming.refused is not None:
                await trio.lowlevel.checkpoint()
                return b""
            elif incoming.ended:
                await trio.sleep_forever()
            elif incoming.held:
                await self._wait()
            else:
                data = await receive(READ_BYTES)
                if not data:
                    return b""
                incoming.feed(data)
                if len(data) < SMALL_READ_BYTES:
                    await self._pay(1)

    async def _pay(self, work: int) -> None:
        """Wait until this much work is allowed, and let others run."""
        rate, now = self._rate, trio.current_time()
        wait_s = rate.take(now, work)
        if wait_s and self.incoming.trusted:
            await trio.sleep(wait_s)
        elif wait_s:
            with trio.move_on_after(wait_s):
                await self._wait()
        if rate.owed(now) > (QUIET_WORK if self.incoming.trusted else FREE_WORK):
            await self.turnstile.go_through()
        else:
            await trio.lowlevel.checkpoint()

    async def _wait(self) -> None:
        """Wait until the peer is trusted, or its messages are dropped. Nearly all peers never need the event."""
        self._waits = trio.Event()
        if self.incoming.trusted or self.incoming.closing:
            self._waits.set()
        await self._waits.wait()

    def _go_on(self) -> None:
        if self._waits is not None:
            self._waits.set()
            self._waits = None
