"""What running tools print is reported at a person's pace, however often it changes."""

from __future__ import annotations

from functools import partial

import trio
from trio.testing import MockClock

from bridgehub.agents.running_output import TELL_S, OutputTeller
from bridgehub.protocol.events import ToolOutput, ToolsPrinted


async def test_a_flood_of_output_is_told_at_a_persons_pace(autojump_clock: MockClock) -> None:
    lines: list[str] = []
    told: list[ToolsPrinted] = []

    async def tell(event: ToolsPrinted) -> None:
        await trio.lowlevel.checkpoint()
        told.append(event)

    def read() -> ToolsPrinted:
        return ToolsPrinted("t", (ToolOutput("a", "execute", "".join(lines)),))

    teller = OutputTeller(read, tell)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(teller.run)
        for number in range(1000):
            lines.append(f"{number}\n")
            teller.note_nowait()
            await trio.sleep(0.01)
        await trio.sleep(TELL_S)
        nursery.cancel_scope.cancel()
    assert len(told) <= 10 / TELL_S + 2
    assert told[-1] == read(), "the newest is told, without another word of the tool"


async def test_what_did_not_change_is_not_told_again(autojump_clock: MockClock) -> None:
    told: list[ToolsPrinted] = []

    async def tell(event: ToolsPrinted) -> None:
        await trio.lowlevel.checkpoint()
        told.append(event)

    teller = OutputTeller(partial(ToolsPrinted, "t", ()), tell)
    await teller.tell_now()
    assert told == [], "nothing has run"
