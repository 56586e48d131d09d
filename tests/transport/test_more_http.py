"""The calls beside conversations: keys, bodies, capsules, notifications, devices, search, sleep, metrics."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.testing

from actors.events.conversation import Complete, Message, TurnStarted
from storage.records import Entry
from storage.tables import search
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened
from tests.transport.client import LIMIT_S, Served, open_server
from tests.transport.services import open_services
from transport.access.auth import HTTP_SCOPES
from transport.access.proxies import LOOPBACK
from transport.http.routes.capsules import find_capsules
from transport.http.services import HttpServices
from transport.metrics import Figure, Histogram, Metrics, as_text


@attrs.frozen
class World:
    services: HttpServices
    served: Served
    http: httpx.AsyncClient


@asynccontextmanager
async def open_world(folder: Path, **changes: Any) -> AsyncIterator[World]:
    async with open_services(folder) as services:
        changed = attrs.evolve(services, **changes)
        async with (
            open_server(changed, trusted_proxies=LOOPBACK) as served,
            httpx.AsyncClient(
                base_url=served.base, headers={"X-API-Key": "key-of-phone"}, timeout=LIMIT_S
            ) as http,
        ):
            yield World(changed, served, http)


def error(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["error"]["message"], str)
    return answer.status_code, answer.json()["error"]["code"]


async def test_no_call_answers_without_a_key_or_beyond_its_scope(tmp_path: Path) -> None:
    ranks = ["view", "approve", "drive", "admin"]
    async with open_world(tmp_path) as world:
        for scope in ranks:
            world.served.fakes.devices.add(scope, scope)
        for action, least in HTTP_SCOPES.items():
            method, path = action.split(" ")
            for key in ("", "wrong", "key-of-"):
                answer = await world.http.request(method, path, headers={"X-API-Key": key})
                assert error(answer) == (401, "unauthorized"), action
            for scope in ranks[: ranks.index(least)]:
                answer = await world.http.request(method, path, headers={"X-API-Key": f"key-of-{scope}"})
                assert error(answer) == (403, "forbidden"), action


@pytest.mark.parametrize(
    ("content", "headers", "told"),
    [
        (b"{}", {}, (400, "bad_request")),
        (b"[]", {}, (400, "bad_request")),
        (b"{", {}, (400, "bad_request")),
        (b"\xff", {}, (400, "bad_request")),
        (b"[" * 5000, {}, (400, "bad_request")),
        (b'{"device_token":"a"}', {}, (400, "bad_request")),
        (b'{"device_token":"","device_id":"d"}', {}, (400, "bad_request")),
        (b'{"device_token":"a","device_id":7}', {}, (400, "bad_request")),
        (b'{"device_token":"a","device_id":"d\\n"}', {}, (400, "bad_request")),
        (b'{"device_token":"' + b"a" * 600 + b'","device_id":"d"}', {}, (400, "bad_request")),
        (b" " * 70_000, {}, (413, "too_large")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
    ],
)
async def test_bodies_that_are_refused(
    tmp_path: Path, content: bytes, headers: dict[str, str], told: tuple[int, str]
) -> None:
    async with open_world(tmp_path) as world:
        sent = {"Content-Type": "application/json", **headers}
        url = "/api/notifications/register"
        assert error(await world.http.post(url, content=content, headers=sent)) == told


async def test_a_body_that_is_too_large_and_does_not_say_so(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nTransfer-Encoding: chunked\r\n\r\n"
        await raw.stream.send_all(head.encode())
        for _ in range(20):
            await raw.stream.send_all(b"1000\r\n" + b" " * 4096 + b"\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 413")


async def test_a_body_without_a_length(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n"
        got = await raw.request(head)
        assert got.startswith(b"HTTP/1.1 411")
        assert b'"length_required"' in got


async def test_a_body_that_is_no_body_says_so_in_json(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        raw = await world.served.raw()
        head = "POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nTransfer-Encoding: chunked\r\n\r\n"
        got = await raw.request(head + "zz\r\nabc\r\n")
        assert got.startswith(b"HTTP/1.1 400")
        assert b'{"error":{"code":"bad_request"' in got


@pytest.mark.parametrize(
    "head",
    [
        "GET /api/status HTTP/1.1\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /api/status HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n",
    ],
)
async def test_a_head_that_is_refused_says_so_in_json(tmp_path: Path, head: str) -> None:
    async with open_world(tmp_path) as world:
        got = await (await world.served.raw()).request(head)
        assert got.startswith(b"HTTP/1.1 400")
        assert b'{"error":{"code":"bad_request"' in got


async def test_registrations_are_kept(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        devices = world.services.devices
        await devices.add(name="p", scope="view", key="k", device_id="phone", now_ms=1)
        body = {"device_token": "ab12", "platform": "ios", "device_id": "D-1", "more": 1}
        answer = await world.http.post("/api/notifications/register", json=body)
        assert answer.status_code == 200
        assert answer.json()["success"] is True
        (kept,) = await world.services.notifier.tables.channels.listing()
        assert (kept.address, kept.kind, kept.label) == ("ab12", "apns", "D-1")
        assert kept.owner == "phone"


def test_capsules_of_a_workspace(tmp_path: Path) -> None:
    def write(folder: str, text: str | bytes) -> None:
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "capsule.json").write_bytes(text.encode() if isinstance(text, str) else text)

    assert find_capsules(tmp_path) == []
    assert find_capsules(tmp_path / "nowhere") == []
    write("b", '{"name": "beta", "title": "Beta", "purpose": "to be second"}')
    write("capsules/a", '{"title": "Alpha"}')
    write("capsules/b", '{"name": "beta", "title": "another of that name"}')
    write("c", '{"name": 7, "title": null, "purpose": ["x"]}')
    bads: list[str | bytes] = ["", "[]", "{", b"\xff\xfe", b"[" * 5000, " " * 70_000, '"x"']
    for number, bad in enumerate(bads):
        write(f"bad{number}", bad)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "capsule.json")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder" / "capsule.json").mkdir(parents=True)
    found = [(one.name, one.title, one.purpose) for one in find_capsules(tmp_path)]
    assert found == [("a", "Alpha", ""), ("beta", "Beta", "to be second"), ("c", "c", "")]


async def test_capsules_are_listed(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.http.get("/api/capsules")).json() == {"count": 0, "capsules": []}
        (tmp_path / "one").mkdir()
        (tmp_path / "one" / "capsule.json").write_text('{"name": "one", "title": "One"}')
        told = (await world.http.get("/api/capsules")).json()
        assert told == {"count": 1, "capsules": [{"name": "one", "title": "One", "purpose": ""}]}


async def test_devices_come_and_go(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert (await world.http.get("/api/devices")).json() == {"devices": [], "next_after": None}
        made = (await world.http.post("/api/devices", json={"name": "Küche", "scope": "view"})).json()
        assert world.services.devices.find(made["key"]) is not None
        (shown,) = (await world.http.get("/api/devices")).json()["devices"]
        assert (shown["id"], shown["name"], shown["scope"]) == (made["id"], "Küche", "view")
        assert "key" not in shown
        for body in ({"name": "x", "scope": "god"}, {"name": "", "scope": "view"}, {"scope": "view"}):
            assert error(await world.http.post("/api/devices", json=body)) == (400, "bad_request")
        assert (await world.http.delete(f"/api/devices/{made['id']}")).status_code == 200
        assert error(await world.http.delete(f"/api/devices/{made['id']}")) == (404, "not_found")
        assert error(await world.http.delete("/api/devices/first")) == (409, "first_device")
        assert world.services.devices.find(made["key"]) is None
        assert (await world.http.get("/api/devices")).json() == {"devices": [], "next_after": None}


async def test_devices_are_listed_by_pages(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        ids = [
            (await world.http.post("/api/devices", json={"name": name, "scope": "view"})).json()["id"]
            for name in "abc"
        ]

        async def page(**query: str) -> tuple[list[str], str | None]:
            told = (await world.http.get("/api/devices", params=query)).json()
            return [one["id"] for one in told["devices"]], told["next_after"]

        assert await page() == (ids, None)
        first, cursor = await page(limit="2")
        assert first == ids[:2]
        assert cursor is not None
        await world.http.delete(f"/api/devices/{cursor}")
        assert await page(limit="2", after=cursor) == (ids[2:], None), "the last one of a page may go"
        for query in ({"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"after": "nobody"}):
            assert error(await world.http.get("/api/devices", params=query)) == (400, "bad_request")


async def test_a_key_revoked_during_its_request_makes_no_device(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        devices = world.services.devices
        await devices.add(name="p", scope="admin", key="k", device_id="phone", now_ms=1)
        body = b'{"name":"x","scope":"admin"}'
        peer = await world.served.raw()
        head = (
            f"POST /api/devices HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\nContent-Length: {len(body)}"
        )
        await peer.stream.send_all(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
        with trio.fail_after(LIMIT_S):
            assert b" 100 " in await peer.head(), "the key was good"
            assert await devices.revoke("phone", now_ms=2)
            await peer.stream.send_all(body)
            assert (await peer.rest()).startswith(b"HTTP/1.1 401")
        assert [one.id for one in devices.list() if one.revoked_at_ms is None] == []


async def test_search_pages_and_takes_any_query(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        kinds = ["user_message", "message", "tool_finished"]
        entries = [Entry(kind, b"", 1, search_text=f"red fox {kind}") for kind in kinds]
        await store.journal.append(grant, 0, entries, durable=True)
    async with open_world(tmp_path) as world:
        found: list[tuple[int, str]] = []
        before: str | None = None
        while True:
            params = {"q": "red", "limit": "2", **({} if before is None else {"before": before})}
            body = (await world.http.get("/api/search", params=params)).json()
            found += [(hit["seq"], hit["role"]) for hit in body["hits"]]
            before = body["next_before"]
            if before is None:
                break
        assert found == [(3, "tool"), (2, "assistant"), (1, "user")]
        assert body["hits"][0]["snippet"] == "red fox user_message"
        assert body["hits"][0]["session_id"] == "trip"
        for query in ('"', "*", "a AND", "NEAR(", "text:", "-", "'", "\0", "x" * 1000, "(((", "^"):
            assert (await world.http.get("/api/search", params={"q": query})).status_code == 200, query
        for wrong in ({}, {"q": "x" * 1001}, {"q": "x", "limit": "0"}, {"q": "x", "before": "y"}):
            assert error(await world.http.get("/api/search", params=wrong)) == (400, "bad_request")


ENDLESS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT ?1, ?2, ?3, count(*), 1, 1 FROM n
"""


async def test_slow_searches_are_busy_and_nobody_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIND", ENDLESS)
    told: list[tuple[int, str]] = []
    async with open_world(tmp_path) as world:
        await world.http.get("/metrics")  # the first one loads a library

        async def search_in_vain() -> None:
            told.append(error(await world.http.get("/api/search", params={"q": "x"})))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(search_in_vain)
            for path in ("/api/health", "/api/sessions", "/metrics"):
                assert (await world.http.get(path)).status_code == 200, path
            assert told == []
        assert told == [(503, "busy")] * 4


async def test_a_search_ends_with_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FIND", ENDLESS)
    monkeypatch.setattr(search, "SEARCH_S", 1e6)
    async with open_world(tmp_path) as world:
        peers = [await world.served.raw() for _ in range(search.SEARCHES)]
        for peer in peers:
            await peer.stream.send_all(
                b"GET /api/search?q=x HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n"
            )
        finder = world.services.search
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits for its condition
            while finder._readers.running < search.SEARCHES:
                await trio.testing.wait_all_tasks_blocked(0.01)
            for peer in peers:
                await peer.stream.aclose()
            while finder._readers.running:
                await trio.testing.wait_all_tasks_blocked(0.01)


async def test_sleep(tmp_path: Path) -> None:
    gate, begun, works = trio.Event(), trio.Event(), True

    async def sleep() -> bool:
        begun.set()
        await gate.wait()
        return works

    async with open_world(tmp_path) as world:
        assert error(await world.http.post("/api/system/sleep")) == (403, "not_configured")
    async with open_world(tmp_path, sleep=sleep) as world, trio.open_nursery() as nursery:

        async def first() -> None:
            assert (await world.http.post("/api/system/sleep")).json()["ok"] is True

        nursery.start_soon(first)
        await begun.wait()
        assert error(await world.http.post("/api/system/sleep")) == (429, "too_many")
        gate.set()
    works = False
    async with open_world(tmp_path, sleep=sleep) as world:
        assert error(await world.http.post("/api/system/sleep")) == (503, "failed")


async def test_metrics_are_text_for_prometheus(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world, world.served.client() as device:
        session = world.served.fakes.add_session("trip")
        await device.attach("trip")
        session.publish(TurnStarted("m"), Message("x", "b", 0), Complete(1, 0, "00"))
        got = await world.http.get("/metrics")
        assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = got.text.splitlines()
        assert "builderos_sessions 1.0" in lines
        assert 'builderos_connections{kind="waiting"} 0.0' in lines
        assert got.text.endswith("\n")
        for line in lines:
            assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2
        names = [line.split(" ")[2] for line in lines if line.startswith("# TYPE")]
        assert len(names) == len(set(names))


async def test_what_metrics_count() -> None:
    metrics = Metrics()
    metrics.appended("trip", 3, 0.002, ["turn_started", "message"])
    metrics.taken("trip", 2)
    metrics.taken("trip", 3)
    metrics.taken("elsewhere", 3)
    metrics.appended("trip", 4, 20.0, ["complete"])
    for session_id in ("a", "b", "a"):
        metrics.hub_started(session_id)
    lines = as_text(metrics.figures()).decode().splitlines()
    for line in (
        "builderos_turns_started_total 1.0",
        'builderos_turns_ended_total{end="complete"} 1.0',
        'builderos_turns_ended_total{end="error"} 0.0',
        "builderos_hub_starts_total 3.0",
        "builderos_hub_restarts_total 1.0",
        "# TYPE builderos_append_seconds histogram",
        'builderos_append_seconds_bucket{le="0.001"} 0.0',
        'builderos_append_seconds_bucket{le="0.0025"} 1.0',
        'builderos_append_seconds_bucket{le="10.0"} 1.0',
        'builderos_append_seconds_bucket{le="+Inf"} 2.0',
        "builderos_append_seconds_sum 20.002",
        "builderos_append_seconds_count 2.0",
        "builderos_fan_out_seconds_count 1.0",
    ):
        assert line in lines, line
    assert Histogram().count == 0
    odd = as_text([Figure("gauge", "n", "a", {'a"\\\n': 1}, "k")]).decode()
    assert odd.splitlines()[-1] == 'n{k="a\\"\\\\\\n"} 1.0'
