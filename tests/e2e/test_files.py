"""Section 2 on a real server: files over a crash, files in messages, removal of sessions, devices, sleep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from tests.e2e.shared_server import Shared, hubs_of, open_http, wait_processes_gone
from tests.support.device import open_device
from tests.support.server import Server, open_server

LIMIT_S = 40.0


async def bring(http: httpx.AsyncClient, name: str = "a.png", data: bytes = b"abc") -> dict[str, str]:
    answer = await http.post(
        "/api/files/upload", files={"file": (name, data, "image/png")}, data={"type": "photo"}
    )
    assert answer.status_code == 200, answer.text
    told: dict[str, str] = answer.json()
    return told


def files(data: Path) -> set[str]:
    return {path.name for path in (data / "uploads").iterdir()}


async def test_a_crash_in_the_middle_of_an_upload(place: Path) -> None:
    """What was answered stays, with its address; what was under way is gone at the next start."""
    async with open_server(place) as server:
        async with open_http(server) as http:
            told = await bring(http)
        async with begun_upload(server):
            await server.kill9()
        assert [name for name in files(server.data) if name.endswith(".part")]
        await server.restart()
        assert files(server.data) == {told["path"].rpartition("/")[2]}
        signed = server.url + told["path"] + "?" + told["url"].partition("?")[2]
        async with httpx.AsyncClient() as stranger:
            assert (await stranger.get(signed)).content == b"abc"


@asynccontextmanager
async def begun_upload(server: Server) -> AsyncIterator[None]:
    """Have an upload under way, its file begun."""
    before = len(files(server.data))
    url = httpx.URL(server.url)
    stream = await trio.open_tcp_stream(url.host, url.port or 0)
    head = (
        f"POST /api/files/upload HTTP/1.1\r\nHost: x\r\nX-API-Key: {server.key}\r\nContent-Length: 9000000\r\n"
        'Content-Type: multipart/form-data; boundary=B\r\n\r\n--B\r\nContent-Disposition: form-data; name="file"'
        '; filename="x"\r\n\r\n'
    )
    async with stream:
        await stream.send_all(head.encode() + b"x" * 600_000)
        with trio.fail_after(LIMIT_S):
            while len(files(server.data)) == before:  # noqa: ASYNC110 - another process makes it
                await trio.sleep(0.01)
        yield


async def test_a_message_with_a_file(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http, shared.device() as device:
        told = await bring(http)
        await device.attach(sid, agent="echo")
        accepted = await device.send(sid, "look", attachments=[{"url": told["url"]}])
        assert accepted["type"] == "accepted"
        await device.wait_for("complete")
        (message,) = [
            one
            for one in (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
            if one["role"] == "user"
        ]
        (file,) = message["attachments"]
        assert (file["filename"], file["size"], file["url"]) == ("a.png", 3, told["url"])
        path = shared.data / "uploads" / told["path"].rpartition("/")[2]
        assert path.exists()
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 200
        assert not path.exists()
        assert (await http.get(told["path"])).status_code == 404


async def test_a_session_is_removed_for_good(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http, shared.device() as device, shared.device() as other:
        await device.attach(sid, agent="echo")
        await other.attach(sid)
        await device.send(sid, "/hang")
        await device.wait_for("delivery", state="consumed")
        hub = hubs_of(shared.data)[sid]
        answer = await http.delete(f"/api/sessions/{sid}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "busy")
        await device.say("interrupt", session_id=sid)
        await device.wait_for("interrupted")
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 200
        await wait_processes_gone([hub])
        for one in (device, other):
            await one.wait_for("detached")
        assert (await http.get(f"/api/sessions/{sid}/messages")).status_code == 404
        assert (await http.delete(f"/api/sessions/{sid}")).status_code == 404
        hits = (await http.get("/api/search", params={"q": "hang", "limit": 500})).json()["hits"]
        assert sid not in {hit["session_id"] for hit in hits}
        again = await other.attach(sid, agent="echo")
        assert (again["head_seq"], again["epoch"]) == (0, 1)
        assert (await other.ask(sid, "hello"))["type"] == "complete"


async def test_search_is_live(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http, shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "xylophone quince")
        hits = (await http.get("/api/search", params={"q": "quince xylo"})).json()["hits"]
        assert [(hit["session_id"], hit["role"]) for hit in hits] == [(sid, "assistant"), (sid, "user")]
        assert "quince" in hits[0]["snippet"]
        events = (await http.get(f"/api/sessions/{sid}/events")).json()["events"]
        assert {hit["seq"] for hit in hits} <= {event["seq"] for event in events}


async def test_metrics_tell_of_a_turn(shared: Shared, sid: str) -> None:
    async with open_http(shared) as http, shared.device() as device:
        await device.attach(sid, agent="echo")
        await device.ask(sid, "hello")
        lines = (await http.get("/metrics")).text.splitlines()
        delays = (await http.get("/api/delays")).json()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['builderos_turns_ended_total{end="complete"}']) >= 1
    assert float(values["builderos_hub_starts_total"]) >= 1
    assert float(values["builderos_append_seconds_count"]) >= 3
    assert float(values["builderos_fan_out_seconds_count"]) >= 1
    assert float(values["builderos_sessions_live"]) >= 1
    assert any(name.startswith("builderos_device_lag{") for name in values)
    assert any(name.startswith("builderos_device_write_seconds_count{") for name in values)
    assert delays["committed"]["p95_ms"] > 0
    assert all(one["device_id"] and one["waiting_bytes"] >= 0 for one in delays["devices"])
    assert any(one["connections"] and one["written"] for one in delays["devices"])


async def test_a_revoked_device_is_cut_within_a_second(shared: Shared) -> None:
    async with open_http(shared) as http:
        made = (await http.post("/api/devices", json={"name": "old phone", "scope": "drive"})).json()
        async with open_device(shared.url, made["key"]) as device:
            with trio.fail_after(LIMIT_S):
                assert (await http.delete(f"/api/devices/{made['id']}")).status_code == 200
                began = trio.current_time()
                assert await device.wait_closed() == 4401
                assert trio.current_time() - began < 1.0
        async with open_http(shared, made["key"]) as refused:
            assert (await refused.get("/api/status")).status_code == 401


async def test_sleep_runs_the_words_of_the_config(place: Path) -> None:
    proof = place / "proof $HOME;x"
    config = f'[system]\nsleep_command = ["touch", "{proof}"]\n'
    async with open_server(place, config=config) as server, open_http(server) as http:
        assert (await http.get("/api/status")).json()["features"]["sleep"] is True
        assert (await http.post("/api/system/sleep")).status_code == 200
        assert proof.exists()
