"""The list of the desk over HTTP, opening, growth and rewinds, on transcripts that no program has open."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.bridgehub.desk.transcripts import Transcript, rollout, uid
from tests.e2e.shared_server import all_events, open_http
from tests.support.device import Json
from tests.support.server import open_server

ONE = uid(1 << 100)


async def entries(http: httpx.AsyncClient, sid: str) -> list[Json]:
    found: list[Json] = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
    return found


async def test_sessions_of_the_desk_are_listed_opened_and_followed(place: Path) -> None:
    home = place / "home"
    home.mkdir()
    config = home / ".claude"
    made = Transcript()
    made.user("plan a trip")
    kept = made.says("Where to?")
    path = made.write(config, ONE)
    for number in range(5):
        other = Transcript(count=100 * number)
        other.user(f"other {number}")
        other.write(config, uid(1000 + number), project="-work-other")
    (config / "projects" / "-work-trip" / f"{uid(2)}.jsonl").write_bytes(b"\xff\xfe\n")
    rollout(home / ".codex", uid(3), ("codex says", "hi"))
    async with open_server(place) as server, open_http(server) as http, server.device() as phone:
        page = (await http.get("/api/desk/sessions", params={"limit": 4})).json()
        assert page["unreadable"] == 1
        rest = (
            await http.get("/api/desk/sessions", params={"limit": 4, "before": page["next_before"]})
        ).json()
        names = [one["native_id"] for one in page["sessions"] + rest["sessions"]]
        assert (len(names), len(set(names)), rest["next_before"]) == (7, 7, None)
        found = (await http.get("/api/desk/sessions", params={"agent": "codex"})).json()["sessions"]
        assert [one["first_message"] for one in found] == ["codex says"]
        for wrong in ({"limit": "0"}, {"before": "x"}, {"q": "x" * 500}):
            assert (await http.get("/api/desk/sessions", params=wrong)).status_code == 400
        for missing in (f"claude/{uid(77)}", "claude/..%2f..%2fx", f"echo/{ONE}", f"nobody/{ONE}"):
            assert (await http.post(f"/api/desk/sessions/{missing}/open")).status_code == 404

        before = path.read_bytes()
        sid = (await http.post(f"/api/desk/sessions/claude/{ONE}/open")).json()["session_id"]
        assert path.read_bytes() == before
        await phone.attach(sid)
        made.user("wrong way")
        made.says("Lost.")
        path.write_bytes(made.data())
        await phone.wait_for("message", content="Lost.")
        made.user("right way", parent=kept)
        made.says("Found.")
        path.write_bytes(made.data())
        left = await phone.wait_for("branch_left")
        said = await entries(http, sid)
        assert [(one["content"], one.get("left", False)) for one in said] == [
            ("plan a trip", False),
            ("Where to?", False),
            ("wrong way", True),
            ("Lost.", True),
            ("right way", False),
            ("Found.", False),
        ]
        assert {one["turn_id"] for one in said if one.get("left")} == set(left["turn_ids"])
        assert {one["cause"] for one in said if one["role"] == "assistant"} == {"desk"}
        assert said[0]["timestamp"] == "2026-11-29T10:00:01.000Z"
        assert said[0]["device_id"] == "desk"
        assert "from_desk" in {one.get("code") for one in await all_events(http, sid)}
        grown = path.read_bytes()
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 200
        assert path.read_bytes() == grown
        again = await http.post(f"/api/desk/sessions/claude/{ONE}/open")
        assert again.status_code == 201
        assert [one["content"] for one in await entries(http, again.json()["session_id"])] == [
            "plan a trip",
            "Where to?",
            "right way",
            "Found.",
        ]


async def test_the_list_shows_no_more_messages_than_are_taken_over(place: Path) -> None:
    made = Transcript()
    for number in range(2_600):
        made.user(f"question {number}")
        made.says("answer")
    made.write(place / "home" / ".claude", ONE)
    async with open_server(place) as server, open_http(server) as http:
        (listed,) = (await http.get("/api/desk/sessions")).json()["sessions"]
        sid = (await http.post(f"/api/desk/sessions/claude/{ONE}/open")).json()["session_id"]
        opened = next(
            one for one in (await http.get("/api/sessions")).json()["sessions"] if one["session_id"] == sid
        )
    assert (listed["message_count"], opened["message_count"]) == (5000, 5000)
