"""Section 8 with the test agent: what it offers, and settings that hold over everything."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.e2e.shared_server import Shared, hubs_of, open_http, wait_processes_gone
from tests.support.device import Device, Json
from tests.support.server import open_server

CONFIG = """
[agents.free]
kind = "echo"
allow_bypass = true
"""


async def configure(device: Device, sid: str, **settings: str | None) -> Json:
    """Change settings; return the event or the refusal."""
    start = len(device.frames)
    await device.say("configure", session_id=sid, settings=settings)
    return await device.wait_for(
        lambda frame: (
            frame["type"] == "rejected" or (frame["type"] == "session_updated" and "settings" in frame)
        ),
        start=start,
    )


async def settings_of(device: Device, sid: str) -> str:
    """Return what the agent says of its settings."""
    end = await device.ask(sid, "/settings")
    return device.text(sid, end["turn_id"])


async def test_what_an_agent_offers(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo")
        await one.ask(sid, "hello")
        await one.wait_for(lambda frame: frame["type"] == "agent" and frame["agent"]["models"], start=0)
        await two.attach(sid)
        offer = (await two.wait_for("agent"))["agent"]
    assert len(offer["models"]) == 2
    assert {one["kind"] for one in offer["modes"]} == {"ask", "edits", "plan", "auto", "bypass"}
    assert len(offer["commands"]) == 3
    assert offer["applies"] == {"model": "now", "permission_mode": "now", "effort": "now"}
    assert "steer" not in offer["can"]


async def test_two_devices_configure_and_see_the_same(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        assert await settings_of(one, sid) == "model=echo-1 mode=ask effort=medium"
        for number in range(3):
            await one.say("configure", session_id=sid, settings={"model": f"echo-{1 + number % 2}"})
            await two.say("configure", session_id=sid, settings={"effort": ("low", "high", "medium")[number]})
        for device in (one, two):
            with trio.fail_after(30):  # noqa: ASYNC912 - waits for its condition
                while len(device.events(sid, "session_updated")) < 6:
                    await device.wait_for("session_updated", start=len(device.frames))
        seen = [
            [(event["device_id"], event["settings"]) for event in device.events(sid, "session_updated")]
            for device in (one, two)
        ]
        assert seen[0] == seen[1]
        assert {author for author, _ in seen[0]} == {"one", "two"}
        last = seen[0][-1][1]
        assert await settings_of(two, sid) == f"model={last['model']} mode=ask effort={last['effort']}"
        refused = await configure(one, sid, model="gpt")
        assert (refused["type"], refused["code"]) == ("rejected", "bad_setting")
        refused = await configure(one, sid, permission_mode="bypass")
        assert (refused["type"], refused["code"]) == ("rejected", "bypass_disabled")
        answered = await configure(one, sid)
        assert answered["settings"] == last


async def test_settings_at_creation_are_checked_with_the_offer(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "hello")
        for settings, code in (
            ({"model": "gpt"}, "bad_setting"),
            ({"permission_mode": "bypass"}, "bypass_disabled"),
        ):
            start = len(device.frames)
            await device.say("attach", session_id=f"{sid}-no", agent="echo", settings=settings)
            assert (await device.wait_for("rejected", start=start))["code"] == code
        made = await device.attach(f"{sid}-yes", agent="echo", settings={"model": "echo-2", "effort": "low"})
        assert (made["settings"]["model"], made["settings"]["effort"]) == ("echo-2", "low")
        assert await settings_of(device, f"{sid}-yes") == "model=echo-2 mode=ask effort=low"


async def test_an_answer_with_a_mode_and_a_changed_input(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/plan # Build")
        asked = await device.wait_for("permission_requested")
        assert (asked["kind"], asked["input"], asked["editable"]) == ("plan", {"plan": "# Build"}, ["plan"])
        assert asked["modes"] == []
        said = {"session_id": sid, "request_id": asked["request_id"], "decision": "allow"}
        await device.say("decide", **said, input={"other": "x"})
        assert (await device.wait_for("rejected"))["code"] == "not_editable"
        await device.say("decide", **said, input={"plan": "# Rest"}, mode="edits")
        resolved = await device.wait_for("permission_resolved")
        assert (resolved["input"], resolved["mode"]) == ({"plan": "# Rest"}, "edits")
        end = await device.wait_for("complete")
        assert device.text(sid, end["turn_id"]) == "approved: # Rest"
        assert await settings_of(device, sid) == "model=echo-1 mode=edits effort=medium"


async def test_an_answer_over_http_with_a_mode_and_a_changed_input(shared: Shared, sid: str) -> None:
    """What a person changed counts, or the answer is refused; it is never the agent's own input that runs."""
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/plan # Build")
        asked = await device.wait_for("permission_requested")
        path = f"/api/sessions/{sid}/requests/{asked['request_id']}"
        for change, status, code in (
            ({"input": {"other": "x"}}, 409, "not_editable"),
            ({"input": "x"}, 400, "bad_request"),
            ({"mode": 1}, 400, "bad_request"),
        ):
            refused = await http.post(path, json={"decision": "allow", **change})
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code)
        changed = {"input": {"plan": "# Rest"}, "mode": "edits"}
        assert (await http.post(path, json={"decision": "allow", **changed})).status_code == 200
        resolved = await device.wait_for("permission_resolved")
        assert (resolved["input"], resolved["mode"]) == ({"plan": "# Rest"}, "edits")
        end = await device.wait_for("complete")
        assert device.text(sid, end["turn_id"]) == "approved: # Rest"


async def test_a_to_do_list_is_worked_through(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as late:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "/todo wash, dry")
        lists = [
            [(one["content"], one["status"]) for one in event["entries"]]
            for event in device.events(sid, "plan_updated")
        ]
        assert lists[0] == [("wash", "pending"), ("dry", "pending")]
        assert [("wash", "completed"), ("dry", "in_progress")] in lists
        assert lists[-1] == [("wash", "completed"), ("dry", "completed")]
        attached = await late.attach(sid)
        assert [(one["content"], one["status"]) for one in attached["plan"]] == lists[-1]


async def test_a_right_for_the_session_is_seen_and_taken_back(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", device_id="me")
        await device.send(sid, "/ask once")
        asked = await device.wait_for("permission_requested")
        await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow_session")
        await device.wait_for("complete")
        await device.ask(sid, "/ask once")
        assert len(device.events(sid, "permission_requested")) == 1
        grants = (await device.attach(sid))["grants"]
        assert [(one["grant"], one["by_device"]) for one in grants] == [(asked["grant"], "me")]
        await device.say("revoke_grant", session_id=sid, grant=asked["grant"])
        assert (await device.wait_for("session_updated"))["grants"] == []
        start = len(device.frames)
        await device.send(sid, "/ask once")
        await device.wait_for("permission_requested", start=start)
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")


async def test_settings_hold_over_the_deaths_of_server_and_hub(tmp_path: Path) -> None:
    async with open_server(tmp_path, config=CONFIG) as server:
        async with server.device() as device:
            await device.attach("trip", agent="free")
            await device.ask("trip", "hello")
            await configure(device, "trip", model="echo-2", permission_mode="plan", effort="high")
            await server.kill9()
        await server.restart()
        async with server.device() as device:
            attached = await device.attach("trip")
            assert attached["settings"]["model"] == "echo-2"
            assert await settings_of(device, "trip") == "model=echo-2 mode=plan effort=high"
            hub = hubs_of(server.data)["trip"]
            hub.kill()
            await wait_processes_gone([hub])
            assert await settings_of(device, "trip") == "model=echo-2 mode=plan effort=high"
            await device.send("trip", "/ask may I")
            asked = await device.wait_for("permission_requested", start=0)
            assert asked["modes"] == ["bypass"]
            await configure(device, "trip", permission_mode="bypass")
            resolved = await device.wait_for("permission_resolved", start=0)
            assert (resolved["decision"], resolved["note"]) == ("allow", "mode bypass")
            await device.wait_for("complete")
            await device.ask("trip", "/ask again")
            assert len(device.events("trip", "permission_requested")) == 1
