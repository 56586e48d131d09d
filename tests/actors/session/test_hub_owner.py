"""The owner of a hub: one hub after the other, links made again, and the truth about how each ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.errors import HubFenced
from actors.session.hub_owner import RELINK_MOST_S, STOP_S, HubOwner
from actors.session.inputs import HubGone, HubReady
from actors.session.mailbox import HubBatch, Mail, Mailbox
from bridgehub.protocol import messages as hub
from bridgehub.protocol.hub_spec import HubSpec
from tests.fakes.scripted_hubs import Garbage, Hang, Say, ScriptedHubs, open_scripted_hubs

PROMPT = hub.Prompt("t1", "m1", "hang", 0)


def spec(hub_id: str) -> HubSpec:
    return HubSpec(hub_id, "trip", "echo", "echo", "/f", "/s", "/w", {}, {}, "a")


@attrs.define(eq=False)
class Desk:
    """An owner at work, with what it has put into the mailbox so far."""

    hubs: ScriptedHubs
    owner: HubOwner
    mail: list[Mail] = attrs.field(factory=list)
    acked: int = 0

    async def settle(self) -> list[Mail]:
        """Let everything come to rest; return the mail since the last time."""
        found: list[Mail] = []
        for _ in range(10):
            await wait_all_tasks_blocked()
            found += self.owner.mailbox.take_nowait()
        self.mail += found
        return found


@asynccontextmanager
async def open_desk() -> AsyncIterator[Desk]:
    async with open_scripted_hubs() as hubs:
        hubs.scripts["hang"] = [Say("a"), Hang()]
        desk = Desk(hubs, HubOwner("trip", hubs, Mailbox(), 3, lambda _: desk.acked))
        async with trio.open_nursery() as nursery:
            desk.owner.serve_in(nursery)
            yield desk
            nursery.cancel_scope.cancel()


async def test_a_hub_is_started_linked_told_and_acknowledged(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        assert desk.owner.is_idle
        desk.owner.start(spec("h1"))
        (ready,) = await desk.settle()
        assert isinstance(ready, HubReady)
        desk.owner.tell(PROMPT)
        assert {type(one) for one in await desk.settle()} == {HubBatch}
        desk.owner.acknowledge(1)
        desk.owner.acknowledge(2)
        await desk.settle()
        assert desk.hubs.newest.told == [PROMPT, hub.Ack(2)]


async def test_a_lost_link_is_made_again_after_what_is_acknowledged(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.owner.start(spec("h1"))
        await desk.settle()
        desk.owner.tell(PROMPT)
        await desk.settle()
        desk.acked = 1
        desk.hubs.newest.cut_link()
        desk.owner.tell(hub.InterruptTurn("t1"))  # in vain
        ready, batch = await desk.settle()
        assert isinstance(ready, HubReady)
        assert ready.welcome.last_turn_id == "t1"
        assert isinstance(batch, HubBatch)
        assert [one.seq for one in batch.events] == [2]


@pytest.mark.parametrize("prompted", [False, True])
async def test_a_dead_hub_is_reaped_and_its_last_events_come_first(
    autojump_clock: MockClock, prompted: bool
) -> None:
    async with open_desk() as desk:
        desk.owner.start(spec("h1"))
        await desk.settle()
        if prompted:
            desk.owner.tell(PROMPT)
            await desk.settle()
        desk.hubs.newest.spools = True
        desk.hubs.newest.kill()
        mail = await desk.settle()
        assert mail[-1] == HubGone("h1", "died", last_prompt="t1" if prompted else None)
        assert [type(one) for one in mail[:-1]] == ([HubBatch] if prompted else [])
        assert desk.owner.is_idle


async def test_each_bad_end_is_told_apart(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.hubs.fail_starts = 1
        desk.owner.start(spec("h1"))
        assert await desk.settle() == [HubGone("h1", "not_started", "no such program")]
        desk.hubs.scripts["hang"] = [Garbage()]
        desk.owner.start(spec("h2"))
        await desk.settle()
        desk.owner.tell(PROMPT)
        assert (await desk.settle())[-1] == HubGone("h2", "garbage", "no JSON", last_prompt="t1")
        desk.owner.adopt("never-was")
        assert await desk.settle() == [HubGone("never-was", "never_started")]


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_the_next_hub_starts_only_when_the_one_before_is_dead(
    autojump_clock: MockClock, ending: str
) -> None:
    async with open_desk() as desk:
        desk.hubs.bury_s = 3.0
        desk.owner.start(spec("h1"))
        await desk.settle()
        desk.owner.end("h1", ending)  # type: ignore[arg-type]
        desk.owner.start(spec("h2"))
        await desk.settle()
        assert list(desk.hubs.hubs) == ["h1"]
        assert (hub.Stop() in desk.hubs.hubs["h1"].told) is (ending == "stop")
        await trio.sleep(4)
        mail = await desk.settle()
        assert [(type(one), one.hub_id) for one in mail if isinstance(one, HubGone | HubReady)] == [
            (HubGone, "h1"),
            (HubReady, "h2"),
        ]


async def test_a_later_owner_ends_this_one(autojump_clock: MockClock) -> None:
    async with open_scripted_hubs() as hubs:
        await hubs.start(spec("h1"))
        await hubs.connect("h1", owner_epoch=9, last_seq=0)
        owner = HubOwner("trip", hubs, Mailbox(), 3, lambda _: 0)
        owner.adopt("h1")
        with trio.fail_after(40), pytest.RaisesGroup(HubFenced):
            async with trio.open_nursery() as nursery:
                owner.serve_in(nursery)
        assert hubs.buried == []


async def test_a_hub_whose_links_break_again_and_again_is_not_dead(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.owner.start(spec("h1"))
        for _ in range(20):
            assert isinstance((await desk.settle())[-1], HubReady)
            desk.hubs.newest.cut_link()
            await trio.sleep(RELINK_MOST_S)
        assert desk.hubs.newest.alive


async def test_a_hub_that_ignores_stop_is_killed_and_its_link_closed(autojump_clock: MockClock) -> None:
    async with open_desk() as desk:
        desk.owner.start(spec("h1"))
        await desk.settle()
        stubborn = desk.hubs.newest
        stubborn.stubborn = True
        desk.owner.end("h1", "stop")
        await trio.sleep(STOP_S - 0.1)
        assert desk.hubs.buried == []
        await trio.sleep(0.2)
        assert desk.hubs.buried == ["h1"]
        assert desk.hubs.open_links == 0
        assert (await desk.settle())[-1] == HubGone("h1", "died")
