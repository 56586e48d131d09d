"""Section 2: keys, errors, health and status, and what a connection may do."""

from __future__ import annotations

import base64
import json
import os
from urllib.parse import urlsplit

import httpx
import pytest
import trio

from tests.e2e.shared_server import Shared, open_http

LIMIT_S = 40.0


async def talk(server: Shared, sent: bytes, *, until: bytes | None = None) -> bytes:
    """Send bytes as they are; return what comes until `until`, or until the server closes."""
    parts = urlsplit(server.url)
    got = b""
    with trio.fail_after(40):
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 0)
        async with stream:
            await stream.send_all(sent)
            try:
                async for chunk in stream:
                    got += chunk
                    if until is not None and until in got:
                        break
            except trio.BrokenResourceError:
                pass
    return got


async def test_health_needs_no_key(shared: Shared) -> None:
    async with open_http(shared, "") as http:
        answer = await http.get("/api/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    assert isinstance(body["version"], str)
    assert body["timestamp"].endswith("Z")
    assert set(body["connections"]) >= {"claude", "codex"}
    assert all(type(count) is int for count in body["connections"].values())
    assert type(body["sessions"]["total"]) is int
    assert body["bridgehub"]["ready"] is True


async def test_a_server_by_itself_has_no_other_machine(shared: Shared) -> None:
    """Who asks another machine for its folders does not get those of this one."""
    async with open_http(shared) as http:
        for path in ("status", "folders", "desk/sessions"):
            refused = await http.get(f"/api/{path}", params={"node": "mac-mini"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "unknown_node")


async def test_status(shared: Shared) -> None:
    async with open_http(shared) as http:
        body = (await http.get("/api/status")).json()
        health = (await http.get("/api/health")).json()
    assert (body["status"], body["health"]) == ("running", "ok")
    assert body["version"] == health["version"]
    assert body["timestamp"].endswith("Z")
    assert all(type(value) is bool for value in body["features"].values())


@pytest.mark.parametrize("form", ["X-API-Key", "bearer", "bare"])
async def test_a_key_in_all_forms(shared: Shared, form: str) -> None:
    headers = {
        "X-API-Key": {"X-API-Key": shared.key},
        "bearer": {"Authorization": f"Bearer {shared.key}"},
        "bare": {"Authorization": shared.key},
    }[form]
    async with httpx.AsyncClient(base_url=shared.url) as http:
        assert (await http.get("/api/sessions", headers=headers)).status_code == 200


def assert_error(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert isinstance(error["code"], str)
    assert isinstance(error["message"], str)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/sessions"),
        ("GET", "/api/status"),
        ("GET", "/api/sessions/x/messages"),
        ("GET", "/api/sessions/x/events"),
        ("DELETE", "/api/claude/session/x/close"),
        ("GET", "/api/nothing"),
    ],
)
async def test_without_a_key_nothing_is_told(shared: Shared, method: str, path: str) -> None:
    async with httpx.AsyncClient(base_url=shared.url) as http:
        assert_error(await http.request(method, path), 401)
        wrong = {"Authorization": f"Bearer {shared.key}0"}
        assert_error(await http.request(method, path, headers=wrong), 401)
        assert_error(await http.request(method, path, headers=[(b"X-API-Key", b"\xfc\xff")]), 401)


async def test_errors_are_json(shared: Shared) -> None:
    async with open_http(shared) as http:
        assert_error(await http.get("/api/nothing"), 404)
        assert_error(await http.get("/api/sessions/never-made/messages"), 404)
        assert_error(await http.get("/api/sessions/never-made/events"), 404)
        assert_error(await http.post("/api/sessions", json={}), 405)
        assert_error(await http.put("/api/health"), 405)


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", "1.5", "", "99999999999999999999999"])
async def test_a_wrong_limit(shared: Shared, sid: str, limit: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
    async with open_http(shared) as http:
        for path in ("/api/sessions", f"/api/sessions/{sid}/messages", f"/api/sessions/{sid}/events"):
            assert_error(await http.get(path, params={"limit": limit}), 400)


async def test_limits_that_are_right(shared: Shared) -> None:
    async with open_http(shared) as http:
        for limit in ("1", "500"):
            assert (await http.get("/api/sessions", params={"limit": limit})).status_code == 200


@pytest.mark.parametrize("query", ["before=nonsense", "before=%00", "before=eyJ9"])
async def test_a_wrong_cursor(shared: Shared, query: str) -> None:
    async with open_http(shared) as http:
        assert_error(await http.get(f"/api/sessions?{query}"), 400)


@pytest.mark.parametrize("query", ["after_seq=x", "after_seq=-1", "after_seq=1&before_seq=2"])
async def test_a_wrong_position(shared: Shared, sid: str, query: str) -> None:
    async with shared.device() as device:
        await device.attach(sid, agent="echo")
    async with open_http(shared) as http:
        assert_error(await http.get(f"/api/sessions/{sid}/messages?{query}"), 400)


async def test_a_head_over_16_kib_is_refused(shared: Shared) -> None:
    head = b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Fill: " + b"f" * 17_000
    got = await talk(shared, head)
    assert not got.startswith(b"HTTP/1.1 200")
    assert got == b"" or got.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


async def test_a_head_just_below_16_kib_is_fine(shared: Shared) -> None:
    async with httpx.AsyncClient(base_url=shared.url) as http:
        answer = await http.get("/api/health", headers={"X-Fill": "f" * 15_000})
    assert answer.status_code == 200


async def test_garbage_is_no_harm(shared: Shared) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", b"NONSENSE\r\n\r\n", b"\0" * 100 + b"\r\n\r\n"):
        assert not (await talk(shared, garbage)).startswith(b"HTTP/1.1 2")
    async with open_http(shared, "") as http:
        assert (await http.get("/api/health")).status_code == 200


async def test_an_upgrade_on_a_kept_connection(shared: Shared) -> None:
    """A WebSocket upgrade as a later request: 101, or the connection was closed cleanly before."""
    parts = urlsplit(shared.url)
    health = f"GET /api/health HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = (
        f"GET /api/ws HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nX-API-Key: {shared.key}\r\n\r\n"
    ).encode()
    for in_one in (True, False):
        with trio.fail_after(LIMIT_S):
            async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 0) as stream:
                got = b""
                await stream.send_all(health + upgrade if in_one else health)
                try:
                    while b'"ready":true}' not in got and (chunk := await stream.receive_some(65536)):
                        got += chunk
                    if not in_one:
                        await stream.send_all(upgrade)
                    while b'"heartbeat_s"' not in got and (chunk := await stream.receive_some(65536)):
                        got += chunk
                except trio.BrokenResourceError:
                    pass
        assert got.startswith(b"HTTP/1.1 200")
        later = [line for line in got.split(b"\r\n") if b"HTTP/1.1 " in line][1:]
        assert all(b"HTTP/1.1 101" in line for line in later), got


async def test_close_is_idempotent_and_keeps_the_history(shared: Shared, sid: str) -> None:
    async with shared.device() as device, open_http(shared) as http:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "hello")
        kept = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
        for agent, name in (("claude", sid), ("codex", sid), ("claude", "never-made")):
            answer = await http.delete(f"/api/{agent}/session/{name}/close")
            assert answer.status_code == 200
            body = answer.json()
            assert body["ok"] is True
            assert body["session_id"] == name
            assert type(body["process_killed"]) is bool
            assert isinstance(body["message"], str)
        assert (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"] == kept


async def test_close_ends_the_hub_only_where_nobody_needs_it(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http:
        async with shared.device() as device:
            await device.attach(sid, agent="echo")
            turn = (await device.send(sid, "/hang"), await device.wait_for("delivery", state="consumed"))[1]
            closed = (await http.delete(f"/api/codex/session/{sid}/close")).json()
            assert closed["process_killed"] is False, "a turn runs"
            await device.say("interrupt", session_id=sid)
            await device.wait_for("interrupted", turn_id=turn["turn_id"])
            await device.say("detach", session_id=sid)
            await device.wait_for("detached")
        closed = (await http.delete(f"/api/codex/session/{sid}/close")).json()
        assert closed["process_killed"] is True
        again = (await http.delete(f"/api/codex/session/{sid}/close")).json()
        assert again["process_killed"] is False
        async with shared.device() as device:
            await device.attach(sid)
            assert (await device.ask(sid, "back"))["type"] == "complete"


async def test_bodies_of_errors_are_small_json(shared: Shared) -> None:
    got = await talk(
        shared,
        b"GET /api/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401")
    assert json.loads(body)["error"]["code"]
