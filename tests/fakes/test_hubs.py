"""The fake keeps the promises that tests of others rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors.errors import HubFenced, HubGarbage, HubLost, HubStartFailed
from bridgehub.protocol.messages import (
    Ack,
    Consumed,
    Decided,
    InterruptTurn,
    Prompt,
    Reported,
    TextPiece,
    TurnDone,
    TurnStopped,
)
from tests.bridgehub.hub_harness import make_spec, prompt, text_of
from tests.fakes.hubs import (
    Ask,
    Die,
    FakeHubs,
    FakeLink,
    Garble,
    LoseLink,
    Pause,
    Step,
    WaitInterrupt,
)


@asynccontextmanager
async def one_hub(*steps: Step) -> AsyncIterator[tuple[FakeHubs, FakeLink]]:
    hubs = FakeHubs()
    if steps:
        hubs.answer_with = lambda prompt: [Consumed(prompt.turn_id), *steps, TurnDone(prompt.turn_id)]
    async with trio.open_nursery() as nursery:
        await nursery.start(hubs.run)
        await hubs.start(make_spec(Path("/nowhere")))
        yield hubs, await hubs.connect("hub1", owner_epoch=1, last_seq=0)
        nursery.cancel_scope.cancel()


async def read_all(link: FakeLink) -> list[Reported]:
    events: list[Reported] = []
    while not events or not isinstance(events[-1].event, TurnDone | TurnStopped):
        events += await link.receive()
    return events


def seqs(events: Sequence[Reported]) -> list[int]:
    return [item.seq for item in events]


async def test_echo_and_acknowledgement(autojump_clock: MockClock) -> None:
    async with one_hub() as (hubs, link):
        await link.send(prompt("t1", "good day"))
        await link.send(prompt("t1", "good day"))
        events = await read_all(link)
        assert text_of(events) == "echo: good day "
        again = await hubs.connect("hub1", owner_epoch=1, last_seq=0)
        assert again.welcome.last_turn_id == "t1"
        assert seqs(await again.receive()) == [1, 2, 3, 4, 5]
        await again.send(Ack(5))
        with pytest.raises(HubLost):
            await link.receive()
        assert hubs.only().kept == []


async def test_interrupt_decision_and_slowness(autojump_clock: MockClock) -> None:
    def answered(decided: Decided) -> list[Step]:
        return [TextPiece("t1", "text", "b", decided.decision), WaitInterrupt()]

    async with one_hub(Pause(5), Ask("r1", "Bash", {}, answered)) as (hubs, link):
        link.slow_s = 2.0
        await link.send(prompt("t1", "x"))
        start = trio.current_time()
        events = [*await link.receive(), *await link.receive()]
        assert trio.current_time() - start == 5.0
        again = await hubs.connect("hub1", owner_epoch=1, last_seq=events[-1].seq)
        assert again.welcome.waiting == ("r1",)
        await again.send(Decided("r1", "deny"))
        assert text_of(await again.receive()) == "deny"
        await again.send(InterruptTurn("t1"))
        assert (await read_all(again))[-1].event == TurnStopped("t1")
        assert not (await hubs.connect("hub1", owner_epoch=1, last_seq=9)).welcome.running


async def test_death_leaves_events_where_the_script_says_so(autojump_clock: MockClock) -> None:
    async with one_hub(TextPiece("t1", "text", "b", "last words"), Die(leave_events=True)) as (hubs, link):
        await link.send(prompt("t1", "x"))
        got: list[Reported] = []
        with pytest.raises(HubLost):
            got += await read_all(link)
        with pytest.raises(HubLost):
            await hubs.connect("hub1", owner_epoch=1, last_seq=0)
        assert seqs(await hubs.bury("hub1", last_seq=1)) == [2]
        await hubs.forget("hub1")
        assert await hubs.bury("hub1", last_seq=1) == []


async def test_lost_links_garbage_and_fences(autojump_clock: MockClock) -> None:
    async with one_hub(LoseLink(), Pause(1), Garble()) as (hubs, link):
        await link.send(Prompt("t1", "m", "x", 0))
        with pytest.raises(HubLost):
            await read_all(link)
        again = await hubs.connect("hub1", owner_epoch=3, last_seq=1)
        with pytest.raises(HubGarbage):
            await again.receive()
        with pytest.raises(HubFenced):
            await hubs.connect("hub1", owner_epoch=2, last_seq=1)
        hubs.start_fails = "no room"
        with pytest.raises(HubStartFailed):
            await hubs.start(make_spec(Path("/nowhere"), "hub2"))
        assert [what for what, _, _ in hubs.record][:3] == ["start", "connect", "Prompt"]
