"""Section 2: lists and their pages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.e2e.shared_server import Shared, all_events, open_http, story_of

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_sessions_newest_first_in_pages(shared: Shared, sid: str) -> None:
    names = [f"{sid}-{number}" for number in range(5)]
    async with shared.device() as device, open_http(shared) as http:
        for name in names:
            await device.attach(name, agent="echo", device_id="ipad")
            await device.ask(name, "hello")
        seen: list[str] = []
        before: str | None = None
        while True:
            params = {"limit": "2"} | ({"before": before} if before else {})
            page = (await http.get("/api/sessions", params=params)).json()
            assert len(page["sessions"]) <= 2
            assert page["total"] >= 5
            seen += [one["session_id"] for one in page["sessions"]]
            before = page["next_before"]
            if before is None:
                break
        assert len(seen) == len(set(seen)), "no session comes twice"
        assert [name for name in seen if name in names] == names[::-1]
        entry = (await http.get("/api/sessions", params={"limit": 500})).json()["sessions"][0]
        messages = (await http.get(f"/api/sessions/{names[-1]}/messages")).json()["messages"]
    assert entry["session_id"] == names[-1]
    assert entry["agent_type"] == "echo"
    assert entry["state"] == "idle"
    assert entry["epoch"] == 1
    assert entry["head_seq"] == device.positions[names[-1]][1]
    assert entry["message_count"] == len(messages) == 2
    assert isinstance(entry["title"], str)
    assert "device_id" in entry
    assert STAMP.fullmatch(entry["created_at"])
    assert STAMP.fullmatch(entry["last_activity"])


async def test_messages_both_ways(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo", device_id="ipad")
        for number in range(7):
            await device.ask(sid, f"m{number}")
        url = f"/api/sessions/{sid}/messages"
        whole = (await http.get(url)).json()
        assert whole["session_id"] == sid
        assert whole["next_after"] is None
        messages = whole["messages"]
        ups: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = (await http.get(url, params={"after_seq": after, "limit": 3})).json()
            ups += page["messages"]
            after = page["next_after"]
        assert ups == messages
        downs: list[Any] = []
        before: int | None = messages[-1]["seq"] + 1
        while before is not None:
            page = (await http.get(url, params={"before_seq": before, "limit": 3})).json()
            assert [one["seq"] for one in page["messages"]] == sorted(one["seq"] for one in page["messages"])
            downs = page["messages"] + downs
            before = page["next_before"]
        assert downs == messages
    assert [one["role"] for one in messages] == ["user", "assistant"] * 7
    assert [one["content"] for one in messages[:2]] == ["m0", "echo: m0 "]
    started = {event["turn_id"]: event["seq"] for event in device.events(sid, "turn_started")}
    for one in messages:
        assert STAMP.fullmatch(one["timestamp"])
        assert one["attachments"] == []
        if one["role"] == "user":
            assert one["device_id"] == "ipad"
            assert one["status"] == "answered"
        else:
            assert one["status"] == "complete"
            assert one["seq"] == started[one["turn_id"]]


async def test_a_page_of_long_answers_is_shorter(shared: Shared, sid: str) -> None:
    """Whatever `limit` says, one page holds about 4 million characters; every entry comes, once, both ways."""
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        for _ in range(4):
            await device.ask(sid, "/big 1500000")
        for place, following in (("after_seq", "next_after"), ("before_seq", "next_before")):
            seen: list[int] = []
            at: int | None = 0 if place == "after_seq" else device.positions[sid][1] + 1
            while at is not None:
                answer = await http.get(f"/api/sessions/{sid}/messages", params={place: at, "limit": 500})
                page = answer.json()
                assert sum(len(one["content"]) for one in page["messages"]) <= 4.5e6
                assert all(len(one["content"]) == 1_500_000 for one in page["messages"][1::2])
                seen += [one["seq"] for one in page["messages"]]
                at = page[following]
            assert len(seen) == len(set(seen)) == 8


async def test_statuses(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")

        async def statuses() -> list[tuple[str, str]]:
            page = (await http.get(f"/api/sessions/{sid}/messages")).json()
            return [(one["role"], one["status"]) for one in page["messages"]]

        await device.send(sid, "/hang")
        await device.wait_for("delivery", state="consumed")
        await device.send(sid, "later", message_id="later")
        await device.wait_for("delivery", message_id="later", state="queued")
        assert await statuses() == [("user", "consumed"), ("assistant", "running"), ("user", "queued")]
        await device.say("cancel", session_id=sid, message_id="later")
        await device.wait_for("delivery", message_id="later", state="cancelled")
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")
        assert await statuses() == [
            ("user", "interrupted"),
            ("assistant", "interrupted"),
            ("user", "cancelled"),
        ]
        await device.ask(sid, "/crash")
        assert (await statuses())[-2:] == [("user", "failed"), ("assistant", "error")]
        entry = (await http.get("/api/sessions", params={"limit": 500})).json()["sessions"]
        assert next(one for one in entry if one["session_id"] == sid)["message_count"] == len(
            await statuses()
        )


@pytest.mark.parametrize("limit", [1, 7, 500])
async def test_events_in_pages(shared: Shared, sid: str, limit: int) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "/words 50")
        await device.ask(sid, "/task tidy")
        first = (await http.get(f"/api/sessions/{sid}/events", params={"limit": 1})).json()
        assert first["session_id"] == sid
        assert first["epoch"] == 1
        events = await all_events(http, sid, limit)
    assert story_of(events) == story_of(device.events(sid))
    for event in events:
        assert {"type", "content", "timestamp", "session_id", "epoch", "seq", "turn_id"} <= set(event)


async def test_messages_of_an_empty_session(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        assert (await http.get(f"/api/sessions/{sid}/messages")).json() == {
            "session_id": sid,
            "messages": [],
            "next_after": None,
        }
        page = (await http.get(f"/api/sessions/{sid}/events")).json()
        assert (page["events"], page["next_after"]) == ([], None)
