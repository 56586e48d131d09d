"""What a crash costs: of one session's owner that session for a while, of a part that all share the process, loudly."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from tests.e2e.shared_server import ENDLESS, all_events, end_turn, hubs_of, open_http, story_of, words_of
from tests.support.device import Closed, Device
from tests.support.flawed import REVIVE_S, Flaws
from tests.support.server import Server, open_server

CRASHES = 4
"""One more than are borne in a minute."""


async def state_of(server: Server, name: str) -> str:
    async with open_http(server) as http:
        entries = (await http.get("/api/sessions")).json()["sessions"]
    return str(next(entry["state"] for entry in entries if entry["session_id"] == name))


async def crash(device: Device, name: str) -> None:
    """Let the session's owner crash until it is given up."""
    for number in range(CRASHES):
        refused = await device.send(name, "a defect", message_id=f"defect-{number}")
        assert refused["type"] == "rejected", refused
    await device.wait_for("error", session_id=name, code="session_failed")


async def revive(device: Device, how: str) -> None:
    """Knock until the session is let in again."""
    knock = {"content": "hello", "message_id": "m2"} if how == "send" else {"after": device.after(how)}
    with trio.fail_after(REVIVE_S * 20):
        while True:
            start = len(device.frames)
            await device.say(how, session_id=how, **knock)
            told = await device.wait_for(
                lambda frame: (
                    frame["type"] in ("attached", "accepted") or frame.get("code") == "session_failed"
                ),
                start=start,
            )
            if told["type"] != "error":
                return
            assert told["content"]
            await trio.sleep(REVIVE_S / 10)


async def test_a_failed_session_is_seen_and_revived(place: Path) -> None:
    flaws = Flaws(place)
    async with (
        open_server(place, module="tests.support.flawed", environment={"FLAWS": str(place)}) as server,
        server.device() as device,
    ):
        await device.attach("other", agent="echo")
        await device.send("other", "/hang")
        for how in ("attach", "send"):
            await device.attach(how, agent="echo")
            await device.send(how, "/hang", message_id="m1")
            await device.wait_for("delivery", session_id=how, state="consumed")
            await fail_and_revive(server, flaws, device, how)
        assert await state_of(server, "other") == "running"


async def fail_and_revive(server: Server, flaws: Flaws, device: Device, how: str) -> None:
    hub = hubs_of(server.data)[how]
    flaws.turn_on("defect")
    await crash(device, how)
    await device.wait_for("session_updated", session_id=how, start=0, failed=True)
    end = await device.wait_for("error", session_id=how, code="agent_exited", start=0)
    assert "seq" in end
    assert await state_of(server, how) == "failed"
    assert not hub.is_running() or hub.status() == "zombie"
    flaws.turn_off("defect")
    await revive(device, how)
    assert (await device.send(how, "hello", message_id="m2"))["type"] == "accepted"
    await device.wait_for("session_updated", session_id=how, failed=False, start=0)
    end = await device.wait_for("complete", session_id=how, start=0)
    assert device.text(how, end["turn_id"]) == "echo: hello "
    async with open_http(server) as http:
        story_of(await all_events(http, how))


@pytest.mark.parametrize("part", ["writer", "accept"])
async def test_a_crash_of_a_shared_part_ends_the_process(place: Path, part: str) -> None:
    """Loudly: exit 1 and one line; the next server has every acknowledged event, and the turn continues."""
    flaws = Flaws(place)
    async with open_server(place, module="tests.support.flawed", environment={"FLAWS": str(place)}) as server:
        async with server.device() as device:
            await device.attach("trip", agent="echo")
            await device.ask("trip", "before")
            await device.send("trip", ENDLESS, message_id="m")
            await device.wait_for("message", session_id="trip")
            hub = hubs_of(server.data)["trip"]
            flaws.turn_on(part)
            if part == "accept":
                async with httpx.AsyncClient() as http:
                    with pytest.raises(httpx.TransportError):
                        await http.get(f"{server.url}/api/health")
            assert await server.wait() == 1
            with pytest.raises(Closed):
                await device.wait_for("never")
            seen = device.events("trip")
        line = server.errors.read_text().splitlines()[-1]
        assert line.startswith("builderos: ")
        assert "a flaw of the" in line
        assert "Traceback" not in server.errors.read_text()
        assert hub.is_running()
        flaws.turn_off(part)
        await server.restart()
        async with server.device() as device:
            attached = await device.attach("trip", after={"epoch": 1, "seq": seen[-1]["seq"]})
            assert attached["replay"] == "ok"
            end = await end_turn(device, "trip")
            async with open_http(server) as http:
                whole = story_of(await all_events(http, "trip"))
                assert story_of(seen + device.events("trip")) == whole
                assert words_of(whole.text(end["turn_id"])) > 1
