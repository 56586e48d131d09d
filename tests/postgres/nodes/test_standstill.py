"""A node that stands still past its lease, and continues: nothing is lost or done twice, no revoked key passes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from tests.e2e.shared_server import ENDLESS, all_events, open_http, story_of, words_of
from tests.postgres.nodes.pair import open_pair
from tests.support.device import Device, Json, open_device
from tests.support.server import Server


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Let the server's process stand still inside the block."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def send_until_accepted(device: Device, session_id: str, message_id: str) -> Json:
    """Do what a client does with a message that was refused for a while."""
    with trio.fail_after(30):
        while True:
            answer = await device.send(session_id, "in between", message_id=message_id)
            if answer["type"] == "accepted":
                return answer
            assert answer["code"] in ("storage", "machine_away"), answer


async def interrupt_until_it_ends(device: Device, session_id: str) -> Json:
    """End a turn. The journal may have answered before its home is heard again, which refuses an interrupt."""
    with trio.fail_after(30):
        while True:
            start = len(device.frames)
            await device.say("interrupt", session_id=session_id)
            answer = await device.wait_for(
                lambda one: one["type"] in ("interrupted", "rejected") and one["session_id"] == session_id,
                start=start,
            )
            if answer["type"] == "interrupted":
                return answer
            assert answer["code"] in ("storage", "machine_away"), answer


async def test_a_home_that_stands_still_past_its_lease(url: str) -> None:
    async with open_pair(url) as nodes, nodes.a.device() as here, nodes.b.device() as there:
        await here.attach("trip", agent="echo")
        await there.attach("trip")
        await there.send("trip", ENDLESS, message_id="long")
        await there.wait_for("message", start=0)
        with stopped(nodes.a):
            unknown = await there.send("trip", "in between", message_id="m")
            assert (unknown["type"], unknown["code"]) == ("rejected", "storage"), "it may be taken later"
            await there.wait_for("error", start=0, code="machine_away")
            refused = await there.send("trip", "are you there", message_id="never")
            assert (refused["type"], refused["code"]) == ("rejected", "machine_away")
        await send_until_accepted(there, "trip", "m")
        end = await interrupt_until_it_ends(there, "trip")
        await here.wait_for("interrupted", start=0, turn_id=end["turn_id"])
        async with open_http(nodes.b) as http:
            events = await all_events(http, "trip")
        text = story_of(events).text(end["turn_id"])
        assert words_of(text) > 2
        assert {device.text("trip", end["turn_id"]) for device in (here, there)} == {text}
        said = [one["message_id"] for one in events if one["type"] == "user_message"]
        assert said == ["long", "m"]
        assert [one["code"] for one in here.frames if one["type"] == "error"] == []


async def test_a_key_that_was_revoked_while_its_node_stood_still(url: str) -> None:
    """Its device sent a message meanwhile, which the node finds before it hears of the key."""
    async with open_pair(url) as nodes, open_http(nodes.b) as at_b, nodes.a.device() as here:
        made = (await at_b.post("/api/devices", json={"name": "phone", "scope": "drive"})).json()
        await here.attach("trip", agent="echo")
        await here.ask("trip", "hello")
        async with open_device(nodes.a.url, made["key"]) as phone:
            await phone.attach("trip")
            with stopped(nodes.a):
                await phone.say("send", session_id="trip", message_id="late", content="hello")
                assert (await at_b.delete(f"/api/devices/{made['id']}")).status_code == 200
                await a_is_away(nodes.b)
            assert await phone.wait_closed(limit_s=20) == 4401
        assert (await here.ask("trip", "and now"))["type"] == "complete"
        async with open_http(nodes.b) as http:
            events = await all_events(http, "trip")
        assert len([one for one in events if one["type"] == "user_message"]) == 2


async def a_is_away(other: Server) -> None:
    """Wait until another node takes `a` for gone."""
    async with open_http(other) as http:
        with trio.fail_after(20):
            while True:
                nodes = (await http.get("/api/nodes")).json()["nodes"]
                if {one["id"]: one["state"] for one in nodes}["a"] == "away":
                    return
