"""The machine's sleep."""

from __future__ import annotations

from pathlib import Path

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
