"""Heartbeats of many connections from one task, on a clock of our own."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from transport.websocket.heartbeat import Heartbeat


@attrs.define(eq=False)
class Counted:
    ended: bool = False
    beats: list[float] = attrs.field(factory=list)

    def heartbeat_now(self) -> None:
        self.beats.append(trio.current_time())


async def test_each_beats_from_its_own_start(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pulse = Heartbeat(15.0)
    start = trio.current_time()
    one, two = Counted(), Counted()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pulse.run)
        await trio.sleep(4)
        pulse.join(one)
        await trio.sleep(3)
        pulse.join(two)
        await trio.sleep(31)
        assert [at - start for at in one.beats] == [19, 34]
        assert [at - start for at in two.beats] == [22, 37]
        one.ended = two.ended = True
        await trio.sleep(30)
        assert len(one.beats) == 2
        late = Counted()
        pulse.join(late)
        await trio.sleep(16)
        assert len(late.beats) == 1
        nursery.cancel_scope.cancel()
