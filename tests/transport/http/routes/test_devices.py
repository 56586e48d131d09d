"""Devices are added, listed and revoked."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from tests.transport.client import LIMIT_S
from tests.transport.http.calls import error, open_world


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
