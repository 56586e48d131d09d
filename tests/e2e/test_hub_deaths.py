"""Section 5: hubs that die, and what a person is asked then."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.shared_server import (
    ENDLESS,
    Shared,
    all_events,
    hubs_of,
    kinds_of_turn,
    open_http,
    story_of,
    wait_processes_gone,
)
from tests.support.device import Device
from tests.support.server import open_server


async def test_a_hub_killed_while_idle(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        for taken in (1, 2, 3):
            end = await device.ask(sid, "/turns")
            assert end["type"] == "complete"
            assert device.text(sid, end["turn_id"]) == f"turns={taken}"
            hub = hubs_of(shared.data)[sid]
            hub.kill()
            await wait_processes_gone([hub])  # a message that came while it dies might become unknown


async def test_a_hub_killed_in_mid_turn(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.send(sid, ENDLESS)
        await device.wait_for("message")
        await device.send(sid, "/turns", message_id="next")
        hubs_of(shared.data)[sid].kill()
        end = await device.wait_for("error")
        assert end["code"] == "agent_exited"
        kinds = kinds_of_turn(device.events(sid), end["turn_id"])
        assert kinds[-3:] == ["message", "d:failed", "error"]
        after = await device.wait_for("complete")
        assert device.text(sid, after["turn_id"]) == "turns=2"
        story = story_of(await all_events(http, sid))
        assert story == story_of(device.events(sid))
        entries = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert entries[1]["content"] == story.text(end["turn_id"])


async def test_a_hub_killed_while_a_decision_waits(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/ask may I")
        asked = await device.wait_for("permission_requested")
        hubs_of(shared.data)[sid].kill()
        resolved = await device.wait_for("permission_resolved", request_id=asked["request_id"])
        assert resolved["decision"] == "cancelled"
        assert (await device.wait_for("error"))["code"] == "agent_exited"
        assert (await device.attach(sid, history=0))["pending"] == []


async def make_unknown(shared: Shared, device: Device, sid: str, message_id: str) -> None:
    """Have a hub die with a prompt that it was given and never said that it took."""
    await device.ask(sid, "warm up")
    hub = hubs_of(shared.data)[sid]
    hub.send_signal(signal.SIGSTOP)
    await device.send(sid, "/turns", message_id=message_id)
    await device.wait_for("delivery", message_id=message_id, state="handed")
    await device.say("ping")
    await device.wait_for("pong")  # by then the prompt is in the hub's socket
    hub.kill()
    end = await device.wait_for("error")
    assert end["code"] == "unknown_outcome"
    assert kinds_of_turn(device.events(sid), end["turn_id"]) == [
        "user_message",
        "turn_started",
        "d:handed",
        "d:unknown",
        "error",
    ]


async def test_unknown_then_retry(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await make_unknown(shared, device, sid, "m")
        entries = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert [entry["status"] for entry in entries[-2:]] == ["unknown", "error"]
        assert (await device.send(sid, "/turns", message_id="m"))["duplicate"] is True, "a person decides"
        first_turn = device.events(sid, "error")[0]["turn_id"]
        await device.say("resolve", session_id=sid, message_id="m", action="retry")
        started = await device.wait_for("turn_started", message_id="m")
        assert started["turn_id"] != first_turn
        end = await device.wait_for("complete", turn_id=started["turn_id"])
        assert device.text(sid, end["turn_id"]) in ("turns=2", "turns=3")
        states = [event["state"] for event in device.events(sid, "delivery") if event["message_id"] == "m"]
        assert states == ["handed", "unknown", "handed", "consumed", "answered"]
        await device.say("resolve", session_id=sid, message_id="m", action="retry")
        assert (await device.wait_for("rejected"))["code"] == "not_unknown"


async def test_unknown_then_discard(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await make_unknown(shared, device, sid, "m")
        await device.say("resolve", session_id=sid, message_id="m", action="discard")
        await device.wait_for("delivery", message_id="m", state="cancelled")
        for action in ("discard", "retry"):
            await device.say("resolve", session_id=sid, message_id="m", action=action)
            assert (await device.wait_for("rejected"))["code"] == "not_unknown"
        assert (await device.ask(sid, "go on"))["type"] == "complete"


async def test_unknown_across_a_crash_of_both(place: Path) -> None:
    """Hub and server die together: the next server says that it does not know, and does not run it again."""
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "warm up")
            hub = hubs_of(server.data)["trip"]
            hub.send_signal(signal.SIGSTOP)
            await device.send("trip", "/turns", message_id="m")
            await device.wait_for("delivery", message_id="m", state="handed")
            await server.kill9()
        hub.kill()
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            end = await device.wait_for("error", start=0)
            assert end["code"] == "unknown_outcome"
            await device.wait_for("delivery", start=0, message_id="m", state="unknown")
            await device.say("resolve", session_id="trip", message_id="m", action="retry")
            assert (await device.wait_for("complete"))["turn_id"] != end["turn_id"]


async def test_a_hub_that_is_stopped_does_not_hold_up_an_interrupt(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/hang")
        await device.wait_for("delivery", state="consumed")
        hubs_of(shared.data)[sid].send_signal(signal.SIGSTOP)
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")
        end = await device.ask(sid, "/turns")
        assert device.text(sid, end["turn_id"]) == "turns=2"


@pytest.mark.parametrize("how", ["kill9", "terminate"])
async def test_a_queue_across_a_restart(place: Path, how: str) -> None:
    async with open_server(place) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.send("trip", "/ask may I")
            asked = await device.wait_for("permission_requested")
            for number in range(3):
                await device.send("trip", "/turns", message_id=f"m{number}")
            await device.say("cancel", session_id="trip", message_id="m1")
            await device.wait_for("delivery", message_id="m1", state="cancelled")
            await getattr(server, how)()
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            request = {"request_id": asked["request_id"], "decision": "allow"}
            await device.say("decide", session_id="trip", **request)
            last = await device.wait_for("turn_started", start=0, message_id="m2")
            await device.wait_for("complete", start=0, turn_id=last["turn_id"])
            texts = [device.text("trip", event["turn_id"]) for event in device.events("trip", "complete")]
            assert texts[1:] == ["turns=2", "turns=3"]
            assert [event["message_id"] for event in device.events("trip", "turn_started")][1:] == [
                "m0",
                "m2",
            ]


async def test_the_fork_server_of_hubs_killed(place: Path) -> None:
    """Whatever process the server keeps for starting hubs: without it the next session works too."""
    async with open_server(place) as server, server.device() as device:
        await device.attach("one", agent="echo")
        await device.ask("one", "hello")
        hubs = hubs_of(server.data).values()
        for child in psutil.Process(server.pid).children():
            if child not in hubs:
                child.kill()
        await device.attach("two", agent="echo")
        assert (await device.ask("two", "hello"))["type"] == "complete"
        assert (await device.ask("one", "hello"))["type"] == "complete"
