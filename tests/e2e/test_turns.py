"""Section 3, events and text: the order of a turn, its pieces, its end, and how they are paced."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
import trio

from tests.e2e.shared_server import Shared, all_events, kinds_of_turn, open_http, sha256, story_of

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_every_event_carries_what_it_must(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", device_id="ipad")
        await device.ask(sid, "/task tidy")
        await device.say("rename", session_id=sid, title="new")
        await device.wait_for("session_updated")
        events = device.events(sid)
    for frame in device.frames:
        assert STAMP.fullmatch(frame["timestamp"])
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    for event in events:
        assert event["session_id"] == sid
        assert event["epoch"] == 1
    turns = {event["turn_id"] for event in events[:-1]}
    assert len(turns) == 1
    assert turns != {None}
    assert events[-1]["turn_id"] is None
    assert events[0]["device_id"] == "ipad"
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)


async def test_the_order_of_a_turn(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "hello")
        body = ["turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete"]
        assert kinds_of_turn(device.events(sid), end["turn_id"]) == ["user_message", *body]
        await device.send(sid, "/hang")
        await device.wait_for("delivery", state="consumed")
        await device.send(sid, "waits", message_id="waits")
        await device.wait_for("delivery", message_id="waits", state="queued")
        await device.say("interrupt", session_id=sid)
        end = await device.wait_for("complete")
        assert kinds_of_turn(device.events(sid), end["turn_id"]) == ["user_message", "d:queued", *body]
        first = device.events(sid, "user_message")[0]
        for event in device.events(sid, "delivery"):
            if event["turn_id"] == first["turn_id"]:
                assert event["message_id"] == first["message_id"]


async def test_the_end_of_a_turn(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        for number in range(3):
            end = await device.ask(sid, "/words 10")
            text = "".join(f"w{i} " for i in range(10))
            assert end["text_length"] == len(text)
            assert end["text_sha256"] == sha256(text)
            assert end["message_count"] == 2 * (number + 1)
            assert isinstance(end["usage"], dict)
            messages = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
            assert len(messages) == end["message_count"]
            assert messages[-1]["content"] == text


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f600 \U0001f1e9\U0001f1ea \U0001d54f",
        "äöü ß",
        "e\u0301 \u200d \u202e x",
        "\x00 \x1f \x7f",
        "日本 語 𠮷",
    ],
)
async def test_text_counts_code_points(shared: Shared, sid: str, text: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, text)
        assert device.events(sid, "user_message")[0]["content"] == text
        expected = "echo: " + "".join(f"{word} " for word in text.split())
        assert device.text(sid, end["turn_id"]) == expected
        assert end["text_length"] == len(expected)
        assert end["text_sha256"] == sha256(expected)
        offset = 0
        for piece in device.events(sid, "message"):
            assert piece["offset"] == offset
            offset += len(piece["content"])


async def test_a_folded_frame_holds_at_most_256_kib(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "/big 1000000")
        assert end["text_length"] == 1_000_000
        assert device.text(sid, end["turn_id"]) == "x" * 1_000_000
        events = await all_events(http, sid)
        for piece in [*device.events(sid, "message"), *(e for e in events if e["type"] == "message")]:
            assert len(piece["content"]) <= 256 * 1024
        assert story_of(events) == story_of(device.events(sid))
        assert story_of(events).covered == end["seq"]


async def test_pieces_of_a_finished_turn_are_folded(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "/words 500 1")
        folded = [event for event in await all_events(http, sid) if event["type"] == "message"]
        assert len(folded) == 1
        assert folded[0]["seq"] - folded[0]["first_seq"] == 499
        assert folded[0]["offset"] == 0
        assert len(device.events(sid, "message")) > 1, "live it came bit by bit"


async def test_task_events_in_order(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
        end = await device.ask(sid, "/task tidy up")
        assert kinds_of_turn(device.events(sid), end["turn_id"]) == [
            "user_message",
            "turn_started",
            "d:handed",
            "d:consumed",
            "task_started",
            "task_progress",
            "task_progress",
            "task_progress",
            "task_finished",
            "message",
            "d:answered",
            "complete",
        ]
        tasks = [event for event in device.events(sid) if event["type"].startswith("task_")]
        assert len({task["task_id"] for task in tasks}) == 1
        assert all(task["title"] == "tidy up" for task in tasks)
        assert [task["state"] for task in tasks] == ["running"] * 4 + ["succeeded"]
        assert all({"parent_task_id", "agent_type", "result"} <= set(task) for task in tasks)
        assert device.text(sid, end["turn_id"]) == "done"


async def test_pace(shared: Shared, sid: str) -> None:
    """At a pace of 300 ms a stream of 1.2 s comes in a few rounds, in order, and the end at once."""
    async with shared.device() as device, shared.device() as live:
        await live.attach(sid, agent="echo")
        await device.attach(sid, pace_ms=300)
        await live.send(sid, "/words 120 10")
        await live.wait_for("complete")
        begin = trio.current_time()
        await device.wait_for("complete", start=0)
        assert trio.current_time() - begin < 0.25, "the end of a turn starts a round at once"
        assert story_of(device.events(sid)) == story_of(live.events(sid))
        arrivals = zip(device.times, device.frames, strict=True)
        times = [at for at, frame in arrivals if frame["type"] == "message"]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    rounds = 1 + sum(gap > 0.02 for gap in gaps)
    assert 3 <= rounds <= 6
    assert all(gap < 0.02 or gap > 0.25 for gap in gaps[:-1]), gaps
    assert len(live.events(sid, "message")) > 30


async def test_a_permission_request_starts_a_round_at_once(shared: Shared, sid: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo", pace_ms=10_000)
        with trio.fail_after(20):
            await device.ask(sid, "warm up")
            await device.send(sid, "/ask may I")
            asked = await device.wait_for("permission_requested", start=0)
            await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            await device.wait_for("complete", turn_id=asked["turn_id"])
