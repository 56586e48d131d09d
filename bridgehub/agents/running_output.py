"""Reports what the running tools of a turn have printed, while they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from bridgehub.protocol.events import ToolOutput, ToolsPrinted

__all__ = ["OutputTeller"]

TELL_S = 0.5
"""Least time between two looks at the output, seconds. The hub passes on at most one a second."""


@attrs.define(eq=False)
class OutputTeller:
    """Reports the output of one turn's tools whenever it has changed.

    Attributes:
        read: returns the output of all tools that run now.
        tell: reports it.
    """

    read: Callable[[], ToolsPrinted]
    tell: Callable[[ToolsPrinted], Awaitable[object]]
    _told: tuple[ToolOutput, ...] = ()
    _came: trio.Event = attrs.field(factory=trio.Event)

    def note_nowait(self) -> None:
        """Note that the output may have changed. It is reported soon."""
        self._came.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._came.wait()
            self._came = trio.Event()
            await self.tell_now()
            await trio.sleep(TELL_S)

    async def tell_now(self) -> None:
        """Report the output if it is not what was reported last."""
        printed = self.read()
        if printed.outputs == self._told:
            await trio.lowlevel.checkpoint()
            return
        self._told = printed.outputs
        await self.tell(printed)
