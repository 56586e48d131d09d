"""Section 5: devices that lose their connection at any place, and one that does not read."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
import trio

from tests.e2e.shared_server import Shared, all_events, open_http, story_of
from tests.support.device import Closed, Device, Json
from tests.support.server import Server, open_server

WORDS = 3000
SLOW = 12
"""Devices that do not read: so many that what each may cost stands clear of the allocator's ups and downs, of
which 13 MB were seen."""

MOST_BYTES = 4 * 1024 * 1024
"""What a device that does not read may cost the server."""

LOAD = "/big 1000000"
TURNS = 8
"""Turns of the load: more than a socket's buffers take."""


async def wander(shared: Shared, sid: str, dice: random.Random, pace_ms: int) -> list[Json]:
    """Follow a session to the end of its turn, losing the connection again and again; return what was seen."""
    seen: list[Json] = []
    while not seen or seen[-1]["type"] != "complete":
        async with shared.device() as device:
            after = {"epoch": 1, "seq": seen[-1]["seq"]} if seen else None
            attached = await device.attach(sid, after=after, pace_ms=pace_ms, history=1000)
            assert attached["replay"] == ("ok" if seen else "snapshot")
            try:
                for _ in range(dice.choice([0, 1, 2, 5, 20])):
                    await device.wait_for(lambda frame: "epoch" in frame and "seq" in frame)
                    if device.events(sid)[-1]["type"] == "complete":
                        break
            finally:
                seen += device.events(sid)
            if dice.random() < 0.5:
                await device.drop()
    return seen


@pytest.mark.parametrize("seed", range(3))
async def test_random_disconnects(shared: Shared, sid: str, seed: int) -> None:
    dice = random.Random(seed)
    stories = {}

    async def follow(number: int) -> None:
        own = random.Random(dice.random())
        stories[number] = story_of(await wander(shared, sid, own, own.choice([0, 0, 20, 100])))

    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.send(sid, f"/words {WORDS} 0.4")
        with trio.fail_after(40):
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(follow, number)
        end = await device.wait_for("complete", start=0)
        journal = story_of(await all_events(http, sid))
        assert journal == story_of(device.events(sid))
        assert journal.text(end["turn_id"]) == "".join(f"w{i} " for i in range(WORDS))
        for story in stories.values():
            assert story == journal


async def test_sends_over_connections_that_break(shared: Shared, sid: str) -> None:
    """A device that repeats what it has no answer for, under the same id, has each message run once."""
    dice = random.Random(7)
    waiting = [f"m{number}" for number in range(25)]
    sent = list(waiting)
    while waiting:
        async with shared.device() as device:
            await device.attach(sid, agent="echo", history=0)
            for message_id in waiting:
                await device.say("send", session_id=sid, message_id=message_id, content=message_id)
            try:
                for _ in range(dice.randint(0, 4)):
                    await device.wait_for("accepted")
            except Closed:
                pass
            heard = {frame["message_id"] for frame in device.frames if frame["type"] == "accepted"}
            waiting = [message_id for message_id in waiting if message_id not in heard]
            await device.drop()
    async with shared.device() as device:
        await device.attach(sid, history=1000)
        last = await device.wait_for("user_message", start=0, message_id="m24")
        await device.wait_for("complete", start=0, turn_id=last["turn_id"])
        assert [event["message_id"] for event in device.events(sid, "user_message")] == sent
        assert [event["message_id"] for event in device.events(sid, "turn_started")] == sent


def rss_of(server: Server) -> int:
    """Return the server's memory, in bytes."""
    rss: int = psutil.Process(server.pid).memory_info().rss
    return rss


async def burden(server: Server, device: Device) -> tuple[float, int]:
    """Run the load; return how long it took and the server's memory after it."""
    begin = trio.current_time()
    for _ in range(TURNS):
        end = await device.ask("trip", LOAD)
        assert end["text_length"] == 1_000_000
        device.forget()
    return trio.current_time() - begin, rss_of(server)


async def test_slow_devices_slow_nobody_and_cost_little(place: Path) -> None:
    """Devices that do not read, while 24 MB go by: others have all in time, memory stays, and they come back."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server(place))
        fast = await stack.enter_async_context(server.device())
        await fast.attach("trip", agent="echo")
        usual = [await burden(server, fast) for _ in range(6)]
        slow = [await stack.enter_async_context(server.device()) for _ in range(SLOW)]
        for device in slow:
            await device.attach("trip", history=0)
            device.stop_reading()
        head = fast.positions["trip"][1]
        with_slow = [await burden(server, fast) for _ in range(6)]
        # What stays counts: a round that was measured at its height is not a cost of theirs.
        took, memory = max(took for took, _ in with_slow), min(rss for _, rss in with_slow)
        slowest, most = max(took for took, _ in usual), max(rss for _, rss in usual)
        grown = memory - most
        assert grown < SLOW * MOST_BYTES, f"{grown / SLOW / 1e6:.1f} MB each"
        assert took < 2 * slowest + 4, f"{took:.2f} s instead of {slowest:.2f} s"
        assert all(device.positions["trip"][1] < fast.positions["trip"][1] for device in slow)
        await fast.ask("trip", "the last")
        async with open_http(server) as http:
            journal = story_of(
                [event for event in await all_events(http, "trip", 20) if event["first_seq"] > head]
            )
        for device in slow:
            device.read_on()
        for device in slow:
            await device.wait_for("complete", seq=fast.positions["trip"][1], limit_s=40)
            assert story_of(device.events("trip")) == journal


async def test_a_device_that_sleeps_comes_back_with_its_place(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as sleeper, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await sleeper.attach(sid)
        await device.ask(sid, "hello")
        await sleeper.wait_for("complete")
        sleeper.stop_reading()
        await device.ask(sid, "/big 8000000")
        seen, after = sleeper.events(sid), sleeper.after(sid)
        await sleeper.drop()
        async with shared.device() as again:
            assert (await again.attach(sid, after=after))["replay"] == "ok"
            await again.wait_for("complete", start=0)
            assert story_of(seen + again.events(sid)) == story_of(await all_events(http, sid))
