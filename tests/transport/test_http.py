"""The HTTP calls, with an independent client over real sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from actors.commands import Close
from actors.events.conversation import Complete, Delivery, Message, TurnStarted, UserMessage
from storage.errors import StorageFull, StorageUnavailable
from tests.fakes.bus import FakeSession
from tests.transport.client import Served, open_server
from transport.http import server
from transport.http.routes import sessions


@asynccontextmanager
async def open_http() -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    async with (
        open_server(version="1.2.3", features=(("search", True),)) as served,
        httpx.AsyncClient(base_url=served.base, headers={"X-API-Key": "key-of-phone"}) as http,
    ):
        yield served, http


def one_turn(session: FakeSession, number: int) -> None:
    name = f"m{number}"
    session.publish(UserMessage(name, f"question {number}"), device_id="phone")
    session.publish(TurnStarted(name), Message("an", "b", 0), Message(f"swer {number}", "b", 2))
    session.publish(Delivery(name, "answered"), Complete(2, 0, "00"))


async def test_health_needs_no_key() -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        body = (await http.get("/api/health", headers={"X-API-Key": "no"})).json()
    assert body["status"] == "ok"
    assert body["version"] == "1.2.3"
    assert body["connections"] == {"claude": 0, "codex": 0}
    assert body["sessions"] == {"total": 1}
    assert body["bridgehub"] == {"ready": True}


async def test_first_requests_at_once_load_the_routes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = server._load

    def counted(*parts: Any) -> Any:
        loads.append("begun")
        return load(*parts)

    monkeypatch.setattr(server, "_load", counted)
    async with open_http() as (_, http):
        assert loads == [], "a server that only speaks WebSockets needs none"

        async def ask() -> None:
            assert (await http.get("/api/health")).status_code == 200

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
    assert loads == ["begun"]


async def test_routes_that_did_not_load_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    load = server._load
    faults = [ImportError("gone for a moment")]

    def faulty(*parts: Any) -> Any:
        if faults:
            raise faults.pop()
        return load(*parts)

    monkeypatch.setattr(server, "_load", faulty)
    async with open_http() as (_, http):
        with pytest.raises(httpx.TransportError):
            await http.get("/api/health")
        assert (await http.get("/api/health")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "key-of-phone"},
        {"Authorization": "Bearer key-of-phone"},
        {"Authorization": "key-of-phone"},
    ],
)
async def test_status_and_where_a_key_may_stand(headers: dict[str, str]) -> None:
    async with (
        open_server(version="1.2.3", features=(("search", True),)) as served,
        httpx.AsyncClient() as http,
    ):
        body = (await http.get(f"{served.base}/api/status", headers=headers)).json()
    assert (body["status"], body["health"], body["features"]) == ("running", "ok", {"search": True})


async def test_status_says_that_nothing_can_be_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_server() as served, httpx.AsyncClient() as http:

        async def full(_: object) -> None:
            raise StorageFull("no space left")

        monkeypatch.setattr(type(served.fakes), "check_writable", full)
        headers = {"X-API-Key": "key-of-phone"}
        body = (await http.get(f"{served.base}/api/status", headers=headers)).json()
    assert (body["status"], body["health"]) == ("running", "storage")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "not_found"),
        ("POST", "/nothing", 404, "not_found"),
        ("GET", "/api/status/", 404, "not_found"),
        ("GET", "/api/sessions/trip/messages/", 404, "not_found"),
        ("POST", "/api/status", 405, "method_not_allowed"),
        ("GET", "/api/sessions/none/messages", 404, "not_found"),
        ("GET", "/api/sessions/none/events", 404, "not_found"),
        ("GET", "/api/sessions/a%20b/events", 404, "not_found"),
        ("GET", "/api/sessions?limit=0", 400, "bad_request"),
        ("GET", "/api/sessions?limit=501", 400, "bad_request"),
        ("GET", "/api/sessions?limit=x", 400, "bad_request"),
        ("GET", "/api/sessions?before=%21%21", 400, "bad_request"),
        ("GET", "/api/sessions/trip/messages?after_seq=-1", 400, "bad_request"),
        ("GET", "/api/sessions/trip/messages?after_seq=1&before_seq=2", 400, "bad_request"),
        ("DELETE", "/api/gemini/session/x/close", 404, "not_found"),
    ],
)
async def test_errors_are_json(method: str, path: str, status: int, code: str) -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        answer = await http.request(method, path)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code
        assert answer.json()["error"]["message"]
        without = await http.request(method, path, headers={"X-API-Key": "no"})
        assert (without.status_code, without.json()["error"]["code"]) == (401, "unauthorized")


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NUMBERS = (
    "sessions?limit=",
    "sessions?before=",
    "sessions/trip/messages?after_seq=",
    "sessions/trip/messages?before_seq=",
    "sessions/trip/messages?limit=",
    "sessions/trip/events?after_seq=",
    "sessions/trip/events?limit=",
    "sessions/trip/tasks?before=",
    "sessions/trip/tasks?limit=",
)


async def test_numbers_that_no_database_holds() -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        for path in NUMBERS:
            for number in ("9" * 20, str(2**63), "9" * 5000, "-1", "1_0", "1e3", ""):
                value = cursor_of(f"{number}:trip") if path == "sessions?before=" else number
                answer = await http.get(f"/api/{path}{value}")
                told = (answer.status_code, answer.json()["error"]["code"])
                assert told == (400, "bad_request"), (path, number)


async def test_the_largest_numbers_are_taken() -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        most = str(2**63 - 1)
        for path in (
            f"/api/sessions?before={cursor_of(most + ':trip')}",
            f"/api/sessions/trip/messages?after_seq={most}",
            f"/api/sessions/trip/messages?before_seq={most}",
            f"/api/sessions/trip/events?after_seq={most}",
            f"/api/sessions/trip/tasks?before={most}",
        ):
            assert (await http.get(path)).status_code == 200, path


async def test_scopes_are_held() -> None:
    async with open_http() as (served, http):
        served.fakes.devices.add("guest", "view")
        guest = {"X-API-Key": "key-of-guest"}
        assert (await http.get("/api/sessions", headers=guest)).status_code == 200
        refused = await http.delete("/api/claude/session/x/close", headers=guest)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")


async def test_storage_and_mistakes_become_errors(caplog: pytest.LogCaptureFixture) -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        served.fakes.read_error = StorageUnavailable("disk")
        answer = await http.get("/api/sessions/trip/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage")
        served.fakes.read_error = ZeroDivisionError("secret detail")
        answer = await http.get("/api/sessions/trip/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in answer.text
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


async def test_sessions_page_newest_first() -> None:
    async with open_http() as (served, http):
        for number in range(5):
            served.fakes.add_session(f"s{number}")
        names: list[str] = []
        params: dict[str, Any] = {"limit": 2}
        while True:
            body = (await http.get("/api/sessions", params=params)).json()
            names += [one["session_id"] for one in body["sessions"]]
            assert body["total"] == 5
            if body["next_before"] is None:
                break
            params["before"] = body["next_before"]
        assert names == ["s4", "s3", "s2", "s1", "s0"]
        entry = body["sessions"][0]
        assert (entry["agent_type"], entry["state"], entry["epoch"], entry["head_seq"]) == (
            "echo",
            "idle",
            1,
            0,
        )


async def test_messages_both_ways() -> None:
    async with open_http() as (served, http):
        session = served.fakes.add_session("trip")
        for number in range(3):
            one_turn(session, number)
        session.publish(UserMessage("m3", "last"), TurnStarted("m3"), Message("so far", "b", 0))
        url = "/api/sessions/trip/messages"
        forward: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            body = (await http.get(url, params={"after_seq": after, "limit": 3})).json()
            forward += body["messages"]
            after = body["next_after"]
        contents = [(one["role"], one["content"], one["status"]) for one in forward]
        expected = []
        for number in range(3):
            expected.append(("user", f"question {number}", "answered"))
            expected.append(("assistant", f"answer {number}", "complete"))
        assert contents == [*expected, ("user", "last", "queued"), ("assistant", "so far", "running")]
        assert [one["seq"] for one in forward] == sorted(one["seq"] for one in forward)
        backward: list[dict[str, Any]] = []
        before: int | None = 10_000
        while before is not None:
            body = (await http.get(url, params={"before_seq": before, "limit": 3})).json()
            backward[:0] = body["messages"]
            before = body["next_before"]
        assert backward == forward


async def test_a_page_of_messages_has_a_bounded_span(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "PAGE_SPAN", 10)
    async with open_http() as (served, http):
        session = served.fakes.add_session("trip")
        for number in range(6):
            one_turn(session, number)
        url = "/api/sessions/trip/messages"
        first = (await http.get(url, params={"after_seq": 0})).json()
        assert [one["content"] for one in first["messages"]] == [
            "question 0", "answer 0", "question 1", "answer 1",
        ]  # fmt: skip
        assert first["next_after"] == first["messages"][-1]["seq"]
        last = (await http.get(url, params={"before_seq": 10_000})).json()
        assert [one["content"] for one in last["messages"]] == [
            "question 4",
            "answer 4",
            "question 5",
            "answer 5",
        ]
        assert last["next_before"] == last["messages"][0]["seq"]


async def test_events_are_the_frames() -> None:
    async with open_http() as (served, http), served.client() as one:
        session = served.fakes.add_session("trip")
        one_turn(session, 1)
        await one.attach("trip", after={"epoch": 1, "seq": 3})
        told = [await one.receive() for _ in range(3)]
        events: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            url = f"/api/sessions/trip/events?after_seq={after}&limit=2"
            body = (await http.get(url)).json()
            assert (body["session_id"], body["epoch"]) == ("trip", 1)
            events += body["events"]
            after = body["next_after"]
        assert [event["seq"] for event in events] == list(range(1, session.head_seq + 1))
        assert told[-1] == events[-1]
        empty = (await http.get("/api/sessions/trip/events?after_seq=999")).json()
        assert (empty["events"], empty["next_after"]) == ([], None)


async def test_closing_is_always_good() -> None:
    async with open_http() as (served, http):
        served.fakes.add_session("trip")
        closed = await http.delete("/api/claude/session/trip/close")
        assert closed.status_code == 200
        assert closed.json()["ok"] is True
        assert closed.json()["process_killed"] is True
        assert served.fakes.envelopes[0][1].command == Close()
        for name in ("nowhere", "a%20b", "x" * 200):
            again = await http.delete(f"/api/codex/session/{name}/close")
            assert again.status_code == 200
            assert again.json()["process_killed"] is False


async def test_many_requests_at_once() -> None:
    async with open_http() as (_, http):
        for _ in range(20):
            assert (await http.get("/api/status")).status_code == 200
