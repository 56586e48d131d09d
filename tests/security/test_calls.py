"""Every HTTP call by every key: who may what over HTTP (PROTOCOL section 2).

`CALLS` is the table. A call that the server has and the table has not fails a test, so that nobody adds one without
saying who may use it. Each call is first tried by all who may not, and the whole state of the server, each table
and file of it, must be as it was; then by each who may, and it must work, on something that is made for it.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import attrs
import httpx
import pytest
import trio
from starlette.routing import Route

from tests.fakes.bus import FakeServer
from tests.security.guarded_server import BLOB, KEYS, SCOPES, STRANGERS, Guarded, code
from tests.transport.services import open_services
from transport.access.signin import SignIns
from transport.config import TransportConfig
from transport.http.app import make_app
from transport.http.services import Port
from transport.http.static import read_web_files

ANYBODY: Final = "anybody"
CODE: Final = "a good code"

LIMIT_S: Final = 30.0

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used; without it each client reads all authorities of the machine, which takes longer than a call."""

WEB_FILES: Final = read_web_files(TransportConfig().web)

Make = Callable[[httpx.AsyncClient, Guarded], Awaitable[str]]
"""Makes what the call is for; returns the path."""


@attrs.frozen
class Call:
    """A row: who may at least, and a request that works.

    Attributes:
        least: a scope, `ANYBODY`, or `CODE`, which a pairing code alone opens.
        path: where to, or how to make a new one for each try.
        request: what else the request has.
        `tells`: what the body of a good answer holds.
        status: of a good answer.
    """

    least: str
    path: str | Make
    request: dict[str, Any] = attrs.field(factory=dict)
    tells: str = ""
    status: int = 200


async def fresh_session(http: httpx.AsyncClient, guarded: Guarded) -> str:
    async with guarded.device(KEYS["admin"]) as device:
        await device.attach("doomed", agent="echo")
    return "/api/sessions/doomed"


async def fresh_device(http: httpx.AsyncClient, guarded: Guarded) -> str:
    made = await http.post("/api/devices", json={"name": "lost", "scope": "view"})
    return f"/api/devices/{made.json()['id']}"


async def fresh_upload(http: httpx.AsyncClient, guarded: Guarded) -> str:
    made = await http.post("/api/files/upload", files={"file": ("a.txt", b"abc", "text/plain")})
    path: str = made.json()["path"]
    return path


async def fresh_request(http: httpx.AsyncClient, guarded: Guarded) -> str:
    async with guarded.device(KEYS["admin"]) as device:
        sid = f"asks-{uuid4().hex[:8]}"
        await device.attach(sid, agent="echo")
        await device.send(sid, "/ask something")
        request = await device.wait_for("permission_requested", session_id=sid)
    return f"/api/sessions/{sid}/requests/{request['request_id']}"


FORM: Final = {"files": {"file": ("b.txt", b"xyz", "text/plain")}, "data": {"type": "text"}}
BROWSER: Final = {
    "platform": "web",
    "device_id": "mac",
    "subscription": {
        "endpoint": "https://fcm.googleapis.com/fcm/send/x",
        "keys": {"p256dh": "BP" + "A" * 85, "auth": "A" * 22},
    },
    "origin": "https://box.example.org",
}
PHONE: Final = {"device_token": "t0", "platform": "ios", "device_id": "ipad"}

CALLS: Final = {
    # Anybody: how the server is, and the files of the web client.
    "GET /api/health": Call(ANYBODY, "/api/health", tells='"status":"ok"'),
    # view: reads.
    "GET /api/status": Call("view", "/api/status", tells='"running"'),
    "GET /api/nodes": Call("view", "/api/nodes", tells='"nodes":[]'),
    "GET /api/openapi.json": Call("view", "/api/openapi.json", tells='"openapi"'),
    "GET /api/sessions": Call("view", "/api/sessions", tells='"seen"'),
    "GET /api/sessions/{id}/messages": Call("view", "/api/sessions/seen/messages", tells="quokka"),
    "GET /api/sessions/{id}/events": Call("view", "/api/sessions/seen/events", tells="quokka"),
    "GET /api/sessions/{id}/tasks": Call("view", "/api/sessions/seen/tasks", tells='"tasks":[]'),
    "GET /api/sessions/{id}/export": Call("view", "/api/sessions/seen/export?format=md", tells="quokka"),
    "GET /api/sessions/{id}/changes": Call(
        "view", "/api/sessions/seen/changes", tells="no_checkpoint", status=404
    ),
    "GET /api/sessions/{id}/files": Call("drive", "/api/sessions/seen/files", tells='"entries":['),
    "GET /api/sessions/{id}/file": Call(
        "drive", "/api/sessions/seen/file?path=nothing", tells="not_found", status=404
    ),
    "GET /api/folders": Call("drive", "/api/folders", tells='"folders":['),
    "GET /api/desk/sessions": Call("drive", "/api/desk/sessions", tells='"unreadable":0'),
    "POST /api/desk/sessions/{agent}/{native_id}/open": Call(
        "drive", "/api/desk/sessions/claude/none/open", tells="not_found", status=404
    ),
    "POST /api/sessions/{id}/give-back": Call(
        "drive", "/api/sessions/seen/give-back", tells="no_conversation", status=409
    ),
    "GET /api/search": Call("view", "/api/search?q=quokka", tells="quokka"),
    "GET /api/capsules": Call("view", "/api/capsules", tells='"capsules":[]'),
    "GET /uploads/{name}": Call("view", fresh_upload, tells="abc"),
    "GET /uploads/blobs/{session}/{digest}": Call(
        "view", f"/uploads/blobs/seen/{sha256(BLOB).hexdigest()}", tells="a tool's long output"
    ),
    "GET /metrics": Call("view", "/metrics", tells="builderos_"),
    # view: says where its own notifications go.
    "POST /api/notifications/register": Call(
        "view", "/api/notifications/register", {"json": PHONE}, tells='"success":true'
    ),
    "GET /api/notifications": Call("view", "/api/notifications", tells='"application_server_key":"'),
    "GET /api/notifications/why": Call("view", "/api/notifications/why", tells='"alerts":['),
    "POST /api/notifications/seen": Call(
        "view", "/api/notifications/seen", {"json": {"alert_id": "a", "what": "shown"}}, tells='"ok":true'
    ),
    # A channel is its own key's, so others get 404: `test_a_channel_is_its_own_keys` has those that work.
    "POST /api/notifications/{id}": Call(
        "view", "/api/notifications/none", {"json": {"wants": {}}}, tells="not_found", status=404
    ),
    "DELETE /api/notifications/{id}": Call("view", "/api/notifications/none", tells="not_found", status=404),
    "POST /api/notifications/{id}/test": Call(
        "view", "/api/notifications/none/test", tells="not_found", status=404
    ),
    # approve: decides.
    "POST /api/sessions/{id}/requests/{request_id}": Call(
        "approve", fresh_request, {"json": {"decision": "deny"}}, tells='"decision":"deny"'
    ),
    # drive: brings files, closes sessions.
    "POST /api/files/upload": Call("drive", "/api/files/upload", FORM, tells='"ok":true'),
    "DELETE /api/{agent}/session/{id}/close": Call(
        "drive", "/api/claude/session/seen/close", tells='"ok":true'
    ),
    "POST /api/sessions/{id}/fork": Call(
        "drive", "/api/sessions/seen/fork", {"json": {}}, tells='"session_id"', status=201
    ),
    # admin: keys, deletion, sleep.
    "GET /api/delays": Call("admin", "/api/delays", tells='"waiting_bytes":'),
    "GET /api/devices": Call("admin", "/api/devices", tells='"scope":"approve"'),
    "POST /api/devices": Call(
        "admin", "/api/devices", {"json": {"name": "new", "scope": "admin"}}, tells='"key":"'
    ),
    "POST /api/devices/pair": Call("admin", "/api/devices/pair", {"json": {}}, tells='"code":"'),
    "DELETE /api/devices/{id}": Call("admin", fresh_device, tells='"ok":true'),
    "DELETE /api/sessions/{id}": Call("admin", fresh_session, tells='"ok":true'),
    "POST /api/sessions/{id}/move": Call(
        "admin", "/api/sessions/seen/move", {"json": {"node": "b"}}, tells='"unknown_node"', status=404
    ),
    "POST /api/desk/hook": Call("admin", "/api/desk/hook", {"json": {"installed": True}}, tells='"ok":true'),
    "POST /api/system/sleep": Call("admin", "/api/system/sleep", tells='"ok":true'),
    # A signed button, and no key: `tests/e2e/test_notifications.py` has those that work.
    "POST /api/act": Call(ANYBODY, "/api/act?decision=allow&sig=0", tells="unauthorized", status=401),
    # A pairing code, and no key.
    "POST /api/pair": Call(CODE, "/api/pair", {"json": {"name": "tablet"}}, tells='"key":"'),
}


async def test_every_route_has_a_row(tmp_path: Path) -> None:
    async with open_services(tmp_path) as services:
        deps = attrs.evolve(FakeServer().deps(), services=services)
        app = make_app(
            TransportConfig(), deps, Port(counts=dict), SignIns(deps.devices, deps.tries, deps.trail)
        )
    files = {f"GET {file.path}" for file in WEB_FILES}
    found = set()
    for route in app.routes:
        assert isinstance(route, Route), "neither a mount nor a WebSocket"
        found |= {f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"}}
    assert found == set(CALLS) | files


async def test_the_web_client_is_anybodys(guarded: Guarded) -> None:
    assert {file.path.split("/")[1] for file in WEB_FILES}.isdisjoint({"api", "uploads", "metrics"})
    async with open_http(guarded, None) as http:
        for file in WEB_FILES:
            assert (await http.get(file.path)).content == file.body


@asynccontextmanager
async def open_http(guarded: Guarded, key: str | None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if key is None else {"X-API-Key": key}
    async with httpx.AsyncClient(
        base_url=guarded.url, headers=headers, timeout=LIMIT_S, verify=NO_TLS, trust_env=False
    ) as http:
        yield http


async def have_seen(guarded: Guarded) -> None:
    """Have a session `seen` with a turn in it."""
    async with guarded.device(KEYS["admin"]) as device:
        attached = await device.attach("seen", agent="echo")
        if attached["head_seq"] == 0:
            await device.ask("seen", "quokka")


async def path_of(call: Call, guarded: Guarded) -> str:
    if isinstance(call.path, str):
        return call.path
    async with open_http(guarded, KEYS["admin"]) as http:
        return await call.path(http, guarded)


async def ask(guarded: Guarded, key: str | None, name: str, path: str) -> httpx.Response:
    async with open_http(guarded, key) as http:
        return await http.request(name.partition(" ")[0], path, **CALLS[name].request)


def said(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code; what a refusal says is of one form, and no word more."""
    told = answer.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"code", "message"}
    return answer.status_code, told["error"]["code"]


def opens(name: str) -> dict[str, str | None]:
    """Return by its name what opens a call, beside what opens nothing."""
    least = CALLS[name].least
    if least == ANYBODY:
        return {**STRANGERS, **KEYS}
    if least == CODE:
        return {f"code for {scope}": code(scope) for scope in SCOPES}
    return {scope: KEYS[scope] for scope in SCOPES[SCOPES.index(least) :]}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call(name: str, guarded: Guarded) -> None:
    await have_seen(guarded)
    path = await path_of(CALLS[name], guarded)
    good = opens(name)
    bad: dict[str, str | None] = {**STRANGERS, **KEYS, "a good code": code("admin")}
    before = await trio.to_thread.run_sync(guarded.state)
    for who, key in bad.items():
        if who in good or (who == CODE and CALLS[name].least in (CODE, ANYBODY)):
            continue
        may_come = who in KEYS and CALLS[name].least != CODE
        expected = (403, "forbidden") if may_come else (401, "unauthorized")
        assert said(await ask(guarded, key, name, path)) == expected, who
    assert await trio.to_thread.run_sync(guarded.state) == before, "a refused call changed something"
    for who, key in good.items():
        answer = await ask(guarded, key, name, path)
        assert answer.status_code == CALLS[name].status, (who, answer.text)
        assert CALLS[name].tells in answer.text, who
        path = await path_of(CALLS[name], guarded)


async def test_a_channel_is_its_own_keys(guarded: Guarded) -> None:
    """Another key, whatever its scope, neither changes, tests nor removes it; only `admin` sees it in the list."""
    async with open_http(guarded, KEYS["view"]) as http:
        made = (await http.post("/api/notifications/register", json=BROWSER)).json()["id"]
        assert (await http.get("/api/notifications?all=1")).status_code == 403
        path = f"/api/notifications/{made}"
        for scope in ("approve", "admin"):
            async with open_http(guarded, KEYS[scope]) as other:
                assert (await other.post(path, json={"wants": {"failed": False}})).status_code == 404
                assert (await other.post(f"{path}/test")).status_code == 404
                assert (await other.delete(path)).status_code == 404
                listed = (await other.get("/api/notifications")).json()["channels"]
                assert made not in {one["id"] for one in listed}
        changed = await http.post(path, json={"wants": {"failed": False}})
        assert changed.json()["wants"] == {"decision": True, "finished": True, "failed": False}
        assert BROWSER["subscription"]["endpoint"] not in (await http.get("/api/notifications")).text  # type: ignore[index]
        assert (await http.delete(path)).status_code == 204
        assert (await http.delete(path)).status_code == 404


async def test_an_endpoint_that_nobody_may_call(guarded: Guarded) -> None:
    async with open_http(guarded, KEYS["view"]) as http:
        for endpoint in ("https://127.0.0.1/x", "http://fcm.googleapis.com/x", "https://push.example.org/x"):
            subscription = {**BROWSER["subscription"], "endpoint": endpoint}  # type: ignore[dict-item]
            body = {**BROWSER, "subscription": subscription}
            refused = await http.post("/api/notifications/register", json=body)
            assert said(refused) == (400, "bad_endpoint"), endpoint


async def test_a_paired_device_has_the_scope_of_its_code(guarded: Guarded) -> None:
    async with open_http(guarded, KEYS["admin"]) as http:
        for scope in SCOPES:
            made = (await http.post("/api/devices/pair", json={"scope": scope})).json()
            one = await ask(guarded, made["code"], "POST /api/pair", "/api/pair")
            assert one.json()["scope"] == scope
            assert said(await ask(guarded, made["code"], "POST /api/pair", "/api/pair"))[0] == 401
            listing = await ask(guarded, one.json()["key"], "GET /api/devices", "/api/devices")
            assert listing.status_code == (200 if scope == "admin" else 403)


@pytest.mark.parametrize("path", ["/uploads/", "/api", "/api/", "/api/nothing", "/uploads/blobs/seen/x"])
async def test_what_is_not_there_is_told_to_keys_only(path: str, guarded: Guarded) -> None:
    async with open_http(guarded, None) as nobody, open_http(guarded, KEYS["view"]) as viewer:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            assert (await nobody.request(method, path)).status_code == 401
            assert (await viewer.request(method, path)).status_code in (404, 405)


async def test_signed_addresses_open_one_file_and_nothing_else(guarded: Guarded) -> None:
    await have_seen(guarded)
    blob = f"/uploads/blobs/seen/{sha256(BLOB).hexdigest()}"
    async with open_http(guarded, KEYS["drive"]) as http:
        first, second = [
            (await http.post("/api/files/upload", files={"file": (name, name.encode(), "text/plain")})).json()
            for name in ("one.txt", "two.txt")
        ]
    signature = first["url"].partition("?")[2]
    for who, key in STRANGERS.items():
        async with open_http(guarded, key) as http:
            assert (await http.get(first["url"])).text == "one.txt", who
            assert (await http.head(first["url"])).status_code == 200, who
            for method, path in (
                ("GET", first["path"]),
                ("GET", f"{second['path']}?{signature}"),
                ("GET", f"{first['path']}?{signature[:-1]}"),
                ("GET", f"{first['path']}?sig="),
                ("GET", f"{blob}?{signature}"),
                ("GET", f"/api/sessions?{signature}"),
                ("DELETE", f"{first['path']}?{signature}"),
            ):
                assert said(await http.request(method, path)) == (401, "unauthorized"), (who, path)
    # A name below another one, however it is written, is not the signed one.
    name = first["path"].removeprefix("/uploads/")
    async with open_http(guarded, None) as http:
        for path in (f"/uploads/../uploads/{name}", f"/uploads/%2e%2e/{name}", f"//uploads/{name}"):
            answer = await http.get(f"{guarded.url}{path}?{signature}")
            assert "one.txt" not in answer.text or str(answer.url.path) == first["path"]


async def test_who_made_a_session_of_the_app_is_shown_by_an_alias(guarded: Guarded) -> None:
    phone = "6F9619FF-8B86-D011-B42D-00CF4FC964FF"
    async with guarded.device(KEYS["drive"]) as device:
        await device.attach("of-the-app", agent="claude", device_id=phone)
        await device.attach("of-an-ipad", agent="claude", device_id="ipad")
    shown = set()
    for scope in SCOPES:
        async with open_http(guarded, KEYS[scope]) as http:
            listed = {one["session_id"]: one for one in (await http.get("/api/sessions")).json()["sessions"]}
        shown.add(listed["of-the-app"]["device_id"])
        assert listed["of-an-ipad"]["device_id"] == "ipad"
        assert phone not in str(listed)
    (alias,) = shown
    assert alias.startswith("ios-")


def test_no_call_left_a_traceback(guarded: Guarded) -> None:
    assert "Traceback" not in guarded.words()
