"""Section 3, act: interrupt, decide, resolve, rename, and what comes without `seq`."""

from __future__ import annotations

import trio

from tests.e2e.shared_server import (
    ENDLESS,
    HEARTBEAT_S,
    Shared,
    all_events,
    end_turn,
    kinds_of_turn,
    open_http,
)
from tests.support.device import Json


async def test_interrupt(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        await one.say("interrupt", session_id=sid)
        assert (await one.wait_for("rejected"))["code"] == "nothing_to_interrupt"
        await one.send(sid, "/hang", message_id="hang")
        turn_id = (await two.wait_for("delivery", state="consumed"))["turn_id"]
        await one.send(sid, "next", message_id="next")
        await two.say("interrupt", session_id=sid, turn_id="another")
        assert (await two.wait_for("rejected"))["code"] == "nothing_to_interrupt"
        with trio.fail_after(20):
            await two.say("interrupt", session_id=sid, turn_id=turn_id)
            end = await one.wait_for("interrupted", turn_id=turn_id)
        assert end["by_device"] == "two"
        await one.wait_for("complete")
        assert kinds_of_turn(one.events(sid), turn_id) == [
            "user_message",
            "turn_started",
            "d:handed",
            "d:consumed",
            "d:interrupted",
            "interrupted",
        ]


async def test_interrupt_in_mid_stream(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.send(sid, ENDLESS)
        await device.wait_for("message")
        await device.say("interrupt", session_id=sid)
        end = await device.wait_for("interrupted")
        text = device.text(sid, end["turn_id"])
        assert text.startswith("w0 ")
        messages = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        assert messages[1]["content"] == text
        assert (await device.ask(sid, "/turns"))["type"] == "complete"


async def decide_from(shared: Shared, sid: str, decision: str, answer: str) -> None:
    async with shared.device() as one, shared.device() as two:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        for decider, label, loser in ((one, "one", two), (two, "two", one)):
            await one.send(sid, "/ask may I")
            asked = [await who.wait_for("permission_requested") for who in (one, two)]
            assert asked[0] == asked[1]
            assert (asked[0]["tool"], asked[0]["input"]) == ("practice", {"text": "may I"})
            assert asked[0]["options"]
            act = {"session_id": sid, "request_id": asked[0]["request_id"], "decision": decision}
            await decider.say("decide", **act, note="because")
            for who in (one, two):
                resolved = await who.wait_for("permission_resolved")
                assert resolved["request_id"] == act["request_id"]
                assert (resolved["decision"], resolved["by_device"]) == (decision, label)
                assert resolved["note"] == "because"
            await loser.say("decide", **act)
            late = await loser.wait_for("rejected")
            assert (late["code"], late["by_device"]) == ("already_resolved", label)
            assert late["request_id"] == act["request_id"]
            for who in (one, two):
                # From the first frame on: the turn may have ended before the refusal above came.
                end = await who.wait_for("complete", start=0, turn_id=asked[0]["turn_id"])
                assert who.text(sid, end["turn_id"]) == answer
            assert kinds_of_turn(one.events(sid), end["turn_id"]) == [
                "user_message",
                "turn_started",
                "d:handed",
                "d:consumed",
                "permission_requested",
                "permission_resolved",
                "message",
                "d:answered",
                "complete",
            ]


async def test_allow(shared: Shared, sid: str) -> None:
    await decide_from(shared, sid, "allow", "allowed")


async def test_deny(shared: Shared, sid: str) -> None:
    await decide_from(shared, sid, "deny", "denied")


async def test_allow_for_the_session(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, "/ask may I")
        asked = await device.wait_for("permission_requested")
        await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow_session")
        assert (await device.wait_for("permission_resolved"))["decision"] == "allow_session"
        end = await device.wait_for("complete")
        assert device.text(sid, end["turn_id"]) == "allowed"


async def test_decide_nothing(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.say("decide", session_id=sid, request_id="nothing", decision="allow")
        rejected = await device.wait_for("rejected")
        assert (rejected["code"], rejected["request_id"]) == ("unknown_request", "nothing")


async def test_an_interrupt_cancels_open_requests(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", device_id="me")
        await device.send(sid, "/ask may I")
        asked = await device.wait_for("permission_requested")
        await device.say("interrupt", session_id=sid)
        resolved = await device.wait_for("permission_resolved", request_id=asked["request_id"])
        assert resolved["decision"] == "cancelled"
        end = await device.wait_for("interrupted")
        assert end["by_device"] == "me"
        assert device.frames.index(resolved) < device.frames.index(end)
        await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
        assert (await device.wait_for("rejected"))["code"] == "already_resolved"


async def test_resolve_what_is_not_unknown(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "hello")
        answered = device.events(sid, "user_message")[0]["message_id"]
        for message_id in (answered, "never-sent"):
            for action in ("retry", "discard"):
                await device.say("resolve", session_id=sid, message_id=message_id, action=action)
                rejected = await device.wait_for("rejected")
                assert (rejected["code"], rejected["message_id"]) == ("not_unknown", message_id)


async def test_rename(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two, open_http(shared) as http:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid)
        await one.say("rename", session_id=sid, title="Ünïted \U0001f600")
        for who in (one, two):
            updated = await who.wait_for("session_updated")
            assert (updated["title"], updated["device_id"]) == ("Ünïted \U0001f600", "one")
            assert updated["turn_id"] is None
        assert (await two.attach(sid))["title"] == "Ünïted \U0001f600"
        listed = (await http.get("/api/sessions", params={"limit": 500})).json()["sessions"]
        assert next(each for each in listed if each["session_id"] == sid)["title"] == "Ünïted \U0001f600"


async def test_draft_and_mark_read(shared: Shared, sid: str) -> None:
    async with shared.device() as one, shared.device() as two, open_http(shared) as http:
        await one.attach(sid, agent="echo", device_id="one")
        await two.attach(sid, device_id="two")
        end = await one.ask(sid, "hello")
        before = len(await all_events(http, sid))
        await one.say("draft", session_id=sid, content="half a senten")
        draft = await two.wait_for("draft")
        assert (draft["content"], draft["session_id"]) == ("half a senten", sid)
        assert "seq" not in draft
        await one.say("mark_read", session_id=sid, seq=end["seq"])
        marked = await two.wait_for("mark_read")
        assert marked["session_id"] == sid
        assert "seq" not in marked
        attached = await two.attach(sid)
        assert (attached["draft"], attached["read_seq"]) == ("half a senten", end["seq"])
        assert len(await all_events(http, sid)) == before
        await one.say("ping")
        await one.wait_for("pong")
        assert not [frame for frame in one.frames if frame["type"] in ("draft", "mark_read")]
        await one.say("draft", session_id=sid, content="")
        await two.wait_for("draft", content="")
        assert (await two.attach(sid))["draft"] == ""


async def test_heartbeats(shared: Shared, sid: str) -> None:
    async with shared.device() as device, shared.device() as other:
        bare = await device.wait_for("heartbeat")
        assert bare["sessions"] == {}
        await device.attach(sid, agent="echo")
        await other.attach(sid)
        assert (await device.wait_for("heartbeat"))["sessions"] == {sid: {"epoch": 1, "head_seq": 0}}
        end = await other.ask(sid, "hello")
        position = {"epoch": 1, "head_seq": end["seq"]}
        await device.wait_for(
            lambda frame: frame["type"] == "heartbeat" and frame["sessions"] == {sid: position}
        )
        begin = trio.current_time()
        for _ in range(3):
            await device.wait_for("heartbeat", start=len(device.frames))
        assert trio.current_time() - begin > 2 * HEARTBEAT_S * 0.8
        await device.say("detach", session_id=sid)
        await device.wait_for("detached")
        await device.wait_for("heartbeat", sessions={})


async def test_heartbeats_come_in_a_busy_stream(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.send(sid, ENDLESS)
        await device.wait_for("message")
        for _ in range(2):
            await device.wait_for("heartbeat")
        await device.wait_for("message")
        await end_turn(device, sid)


async def test_watch_sessions(shared: Shared, sid: str) -> None:
    async with shared.device() as watcher, shared.device() as device, open_http(shared) as http:
        await watcher.say("watch_sessions")
        await watcher.say("ping")
        await watcher.wait_for("pong")

        async def changed(**fields: object) -> Json:
            wanted = {"type": "session_changed", "session_id": sid, **fields}
            return await watcher.wait_for(lambda frame: wanted.items() <= frame.items(), start=0)

        await device.attach(sid, agent="echo", device_id="one")
        made = await changed(head_seq=0)
        assert (made["state"], made["unread"], made["pending"]) == ("idle", 0, 0)
        await device.send(sid, "/ask may I")
        asked = await device.wait_for("permission_requested")
        waiting = await changed(state="waiting", pending=1)
        assert waiting["agent_type"] == "echo"
        await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
        end = await device.wait_for("complete")
        last = await changed(state="idle", head_seq=end["seq"], pending=0)
        assert last["unread"] > 0
        listed = (await http.get("/api/sessions", params={"limit": 500})).json()["sessions"]
        entry = next(each for each in listed if each["session_id"] == sid)
        assert {name: last[name] for name in entry} == entry
        await device.say("mark_read", session_id=sid, seq=end["seq"])
        await changed(unread=0, head_seq=end["seq"])


async def test_watch_sessions_at_most_one_a_second(shared: Shared, sid: str) -> None:
    async with shared.device() as watcher, shared.device() as device:
        await watcher.say("watch_sessions")
        await device.attach(sid, agent="echo")
        begin = trio.current_time()
        for number in range(30):
            end = await device.ask(sid, f"m{number}")
        await watcher.wait_for("session_changed", session_id=sid, head_seq=end["seq"])
        took = trio.current_time() - begin
        told = [f for f in watcher.frames if f["type"] == "session_changed" and f["session_id"] == sid]
        assert len(told) <= took + 2
