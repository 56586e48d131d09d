"""Section 3, attach: what it answers, what it makes, and where a device comes in."""

from __future__ import annotations

import pytest
import trio

from tests.e2e.shared_server import ENDLESS, Shared, all_events, open_http, story_of
from tests.support.device import Device


async def fill(device: Device, sid: str, turns: int) -> None:
    """Make a session with a few turns."""
    await device.attach(sid, agent="echo")
    for number in range(turns):
        await device.ask(sid, f"turn {number}")


async def test_an_unknown_session_with_an_agent_is_made(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        attached = await device.attach(sid, agent="echo", device_id="ipad")
    assert attached["session_id"] == sid
    assert (attached["epoch"], attached["head_seq"], attached["from_seq"]) == (1, 0, 1)
    assert attached["replay"] == "snapshot"
    assert attached["agent_type"] == "echo"
    assert attached["state"] == "idle"
    assert isinstance(attached["title"], str)
    assert isinstance(attached["settings"]["workspace"], str)
    assert {"model", "permission_mode"} <= set(attached["settings"])
    assert (attached["queue"], attached["pending"]) == ([], [])
    assert attached["devices"] == [
        {"device_id": "ipad", "name": device.ready["device"]["name"], "observe": False}
    ]
    assert (attached["read_seq"], attached["draft"]) == (0, "")


async def test_an_unknown_session_without_an_agent(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.say("attach", session_id=sid)
        assert (await device.wait_for("error"))["code"] == "unknown_session"
        await device.say("attach", session_id=sid, agent="nobody")
        assert (await device.wait_for("error"))["code"] == "unknown_agent"
        await device.attach(sid, agent="echo")
    async with open_http(shared) as http:
        assert (await http.get(f"/api/sessions/{sid}/events")).status_code == 200


async def test_agent_is_ignored_for_a_session_that_exists(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        assert (await device.attach(sid, agent="nobody"))["agent_type"] == "echo"
        assert (await device.attach(sid, agent="claude"))["agent_type"] == "echo"
        assert (await device.attach(sid))["agent_type"] == "echo"


@pytest.mark.parametrize("name", ["a", "A-Z.a_z-09", "..", "x" * 128])
async def test_ids_that_are_fine(shared: Shared, name: str) -> None:
    async with shared.device() as device:
        await device.attach(name, agent="echo", device_id=name)
        assert (await device.ask(name, "hi"))["type"] == "complete"
        assert device.events(name, "user_message")[0]["device_id"] == name
    async with open_http(shared) as http:
        assert len((await http.get(f"/api/sessions/{name.replace('.', '%2e')}/events")).json()["events"]) > 5


async def test_settings_of_a_new_session(shared: Shared, sid: str) -> None:
    asked = {"model": "echo-2", "permission_mode": "plan", "workspace": str(shared.data.parent / "home")}
    kept = {**asked, "effort": None}
    async with shared.device() as device:
        assert (await device.attach(sid, agent="echo", settings=asked))["settings"] == kept
        again = await device.attach(sid, settings={"model": "echo-1"})
        assert again["settings"] == kept, "only when a session is made"


async def test_the_label_is_what_others_see(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        default = (await one.attach(sid, agent="echo"))["devices"][0]["device_id"]
        assert default == one.ready["device"]["id"]
        attached = await two.attach(sid, device_id="two", observe=True)
        assert {(each["device_id"], each["observe"]) for each in attached["devices"]} == {
            (default, False),
            ("two", True),
        }
        presence = await one.wait_for("presence", session_id=sid)
        assert len(presence["devices"]) == 2
        await two.say("detach", session_id=sid)
        assert (await two.wait_for("detached"))["session_id"] == sid
        await one.wait_for(lambda frame: frame["type"] == "presence" and len(frame["devices"]) == 1)
        assert (await two.send(sid, "hello"))["code"] == "not_attached"
        await two.attach(sid, device_id="three")
        await one.wait_for(
            lambda frame: (
                frame["type"] == "presence" and {"three"} < {each["device_id"] for each in frame["devices"]}
            )
        )
        await two.drop()
        await one.wait_for(lambda frame: frame["type"] == "presence" and len(frame["devices"]) == 1)


async def test_after_gives_what_came_since(shared: Shared, sid: str) -> None:
    """From every position on; and a device that had a frame that ended there, and gets the rest, has the whole."""
    async with shared.device() as device, open_http(shared) as http:
        await fill(device, sid, 4)
        events = await all_events(http, sid)
        whole, head = story_of(events), events[-1]["seq"]
        for seq in range(head + 1):
            async with shared.device() as late:
                attached = await late.attach(sid, after={"epoch": 1, "seq": seq})
                assert (attached["replay"], attached["head_seq"]) == ("ok", head)
                while late.positions[sid][1] < head:
                    await late.wait_for(lambda frame: "epoch" in frame and "seq" in frame)
                came = late.events(sid)
                assert attached["from_seq"] == (came[0]["first_seq"] if came else head + 1)
                had = [event for event in device.events(sid) if event["seq"] <= seq]
                if not had or had[-1]["seq"] == seq:
                    assert story_of(had + came) == whole


@pytest.mark.parametrize("history", [0, 1, 2, 3, 50, 1000])
async def test_a_snapshot_has_the_last_turns(shared: Shared, sid: str, history: int) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await fill(device, sid, 3)
        events = await all_events(http, sid)
        head = events[-1]["seq"]
        async with shared.device() as late:
            attached = await late.attach(sid, history=history)
            await late.say("ping")
            await late.wait_for("pong")
            came = late.events(sid)
            if came and came[-1]["seq"] < head:
                await late.wait_for(lambda frame: frame.get("seq") == head and "epoch" in frame)
                came = late.events(sid)
    assert attached["replay"] == "snapshot"
    started = [event for event in events if event["type"] == "turn_started"]
    assert len([event for event in came if event["type"] == "turn_started"]) == min(history, len(started))
    if history == 0:
        assert (came, attached["from_seq"]) == ([], head + 1)
        return
    turns = [event["turn_id"] for event in started][-history:]
    first = next(event["seq"] for event in events if event["turn_id"] in turns)
    assert story_of(came) == story_of(event for event in events if event["seq"] >= first)
    assert attached["from_seq"] == came[0]["first_seq"] == first


@pytest.mark.parametrize(
    "after", [{"epoch": 2, "seq": 1}, {"epoch": 0, "seq": 1}, {"epoch": 1, "seq": 10_000}]
)
async def test_a_foreign_position_gives_a_snapshot(shared: Shared, sid: str, after: dict[str, int]) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await fill(device, sid, 2)
        async with shared.device() as late:
            assert (await late.attach(sid, after=after))["replay"] == "snapshot"
            await late.wait_for("complete", start=0, seq=device.positions[sid][1])
            assert story_of(late.events(sid)) == story_of(await all_events(http, sid))


async def test_attaching_again_replaces_the_earlier(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other:
        await other.attach(sid, agent="echo", device_id="other")
        for label in ("one", "two", "three"):
            attached = await device.attach(sid, device_id=label)
            assert {each["device_id"] for each in attached["devices"]} == {"other", label}
        await other.send(sid, "/words 300")
        await device.wait_for("complete")
        story_of(device.events(sid))
        assert (await device.send(sid, "mine"))["type"] == "accepted"
        mine = await other.wait_for("user_message", start=0, content="mine")
        assert mine["device_id"] == "three"


async def test_attaching_again_in_mid_stream_leaves_no_gap(shared: Shared, sid: str) -> None:
    """What is between two answers `attached` is whole, and so is the last. The turn ends only if the test says so."""
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.send(sid, ENDLESS)
        for _ in range(10):
            await device.wait_for("message")
            await device.attach(sid, after=device.after(sid))
        await device.wait_for("message")
        await device.say("interrupt", session_id=sid)
        turn = (await device.wait_for("interrupted"))["turn_id"]
        assert device.text(sid, turn) == story_of(await all_events(http, sid)).text(turn) != ""


async def test_many_sessions_on_one_connection(shared: Shared, sid: str) -> None:
    names = [f"{sid}-{number}" for number in range(8)]
    async with shared.device() as device, shared.device() as other:
        for name in names:
            await device.attach(name, agent="echo")
            await other.attach(name)
        for name in names:
            await device.say(
                "send", session_id=name, message_id="m", content=f"/words 200 0.{names.index(name)}"
            )
        for name in names:
            await device.wait_for("complete", start=0, session_id=name)
            await other.wait_for("complete", start=0, session_id=name)
        for name in names:
            assert story_of(device.events(name)) == story_of(other.events(name))


async def test_attaching_starts_no_hub(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="claude")
        await device.say("detach", session_id=sid)
        await device.wait_for("detached")
    async with open_http(shared) as http:
        closed = (await http.delete(f"/api/claude/session/{sid}/close")).json()
        assert closed["process_killed"] is False
        assert (await http.get(f"/api/sessions/{sid}/events")).json()["events"] == []


async def test_an_observer_sees_all_and_does_nothing(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as watcher:
        await one.attach(sid, agent="echo")
        await watcher.attach(sid, observe=True, device_id="watcher")
        assert (await watcher.send(sid, "no"))["code"] == "observer"
        await one.send(sid, "/ask may I", message_id="ask")
        asked = await watcher.wait_for("permission_requested")
        acts = [
            ("cancel", {"message_id": "ask"}),
            ("interrupt", {}),
            ("decide", {"request_id": asked["request_id"], "decision": "allow"}),
            ("resolve", {"message_id": "ask", "action": "retry"}),
            ("rename", {"title": "no"}),
        ]
        for kind, fields in acts:
            await watcher.say(kind, session_id=sid, **fields)
            rejected = await watcher.wait_for("rejected")
            assert rejected["code"] == "observer", kind
            for name in ("message_id", "request_id"):
                assert rejected.get(name) == fields.get(name)
        await one.say("decide", session_id=sid, request_id=asked["request_id"], decision="deny")
        await watcher.wait_for("complete")
        await one.wait_for("complete")
        assert one.events(sid) == watcher.events(sid)


async def test_attached_tells_queue_and_pending_and_state(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as late:
        await one.attach(sid, agent="echo", device_id="one")
        await one.send(sid, "/ask may I")
        asked = await one.wait_for("permission_requested")
        await one.send(sid, "y" * 1500, message_id="later")
        attached = await late.attach(sid, history=0)
        assert attached["state"] == "waiting"
        assert attached["queue"] == [{"message_id": "later", "content": "y" * 1000, "device_id": "one"}]
        assert len(attached["pending"]) == 1
        pending = attached["pending"][0]
        for name in ("request_id", "tool", "input", "options"):
            assert pending[name] == asked[name]
        await late.say("decide", session_id=sid, request_id=pending["request_id"], decision="allow")
        with trio.fail_after(40):
            await one.wait_for("complete")
            await one.wait_for("complete")
        assert (await late.attach(sid, history=0))["state"] == "idle"
