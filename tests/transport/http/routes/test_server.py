"""The machine's sleep, and methods that a path does not take."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from tests.transport.http.calls import error, open_world


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


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/devices", "GET, HEAD, POST"),
        ("/api/devices/pair", "DELETE, POST"),  # a device may have that id
        ("/api/notifications/n1", "DELETE, POST"),
        ("/api/sessions/trip", "DELETE"),
        ("/api/health", "GET, HEAD"),
    ],
)
async def test_a_refusal_names_every_method_of_a_path(tmp_path: Path, path: str, allowed: str) -> None:
    async with open_world(tmp_path) as world:
        refused = await world.http.request("PATCH", path)
        assert error(refused) == (405, "method_not_allowed")
        assert refused.headers["Allow"] == allowed
