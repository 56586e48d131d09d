"""Retention removes what is old and idle, nothing else, and nothing at all unless it was asked to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from builderos.commands.import_ import ImportOptions, run_import
from builderos.config import ConfigError, parse_config
from builderos.server.retention import DAY_MS, ROUND_S, Retention
from storage.errors import SessionMissing, StorageUnavailable
from storage.records import NewSession, Summary
from tests.builderos.old_server import said, write_old
from tests.fakes.memory_store import MemoryStore
from tests.support.server import open_server

NOW_MS = 100 * DAY_MS


@attrs.define(eq=False)
class World:
    """A store with sessions of some age in days, and what retention did to it."""

    store: MemoryStore = attrs.field(factory=MemoryStore)
    now_ms: int = NOW_MS
    in_use: set[str] = attrs.field(factory=set)
    removed: list[str] = attrs.field(factory=list)
    fails: bool = False

    async def add(self, session_id: str, age_days: float, *, unfinished: bool = False) -> None:
        at_ms = int(self.now_ms - age_days * DAY_MS)
        await self.store.create(NewSession(session_id, "echo", "phone", b"{}", at_ms))
        grant = await self.store.acquire(session_id)
        summary = Summary("", "idle", 0, 0, unfinished, b"{}", None, 0)
        await self.store.append(grant, 0, [], durable=True, summary=summary)

    async def remove(self, session_id: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise StorageUnavailable("full")
        if session_id in self.removed:
            raise SessionMissing(session_id)
        self.removed.append(session_id)

    def retention(self, days: float = 30) -> Retention:
        return Retention(self.store, days, lambda: self.now_ms, self.in_use.__contains__, self.remove)


async def test_only_what_is_old_and_idle_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World(in_use={"attached"})
    for number in range(250):
        await world.add(f"old-{number}", 31 + number / 1000)
    await world.add("attached", 400)
    await world.add("busy", 400, unfinished=True)
    await world.add("at-the-border", 30)
    await world.add("young", 29.9)
    assert await world.retention().run_round() == 250
    assert sorted(world.removed) == sorted(f"old-{number}" for number in range(250))
    assert "250 sessions without activity for 30 days removed, 2 in use kept" in caplog.text


async def test_it_looks_every_day(autojump_clock: MockClock) -> None:
    world = World()
    await world.add("first", 31)
    await world.add("second", 29.5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.retention().run)
        await trio.sleep(1)
        assert world.removed == ["first"]
        world.now_ms += DAY_MS
        await trio.sleep(ROUND_S)
        assert world.removed == ["first", "second"]
        nursery.cancel_scope.cancel(reason="seen")


async def test_a_full_disk_is_tried_again_the_next_day(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(fails=True)
    await world.add("old", 31)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.retention().run)
        await trio.sleep(1)
        assert "full" in caplog.text
        world.fails = False
        await trio.sleep(ROUND_S)
        assert world.removed == ["old"]
        nursery.cancel_scope.cancel(reason="seen")


def test_it_is_off_unless_set() -> None:
    assert parse_config("").retention_days is None
    assert parse_config("retention_days = 90").retention_days == 90
    for wrong in ("0", "-1", '"90"', "true", "inf"):
        with pytest.raises(ConfigError, match="retention_days"):
            parse_config(f"retention_days = {wrong}")


async def until_logged(log: Path, text: str) -> None:
    with trio.fail_after(40):
        while text not in await trio.Path(log).read_text():  # noqa: ASYNC110 - of another process
            await trio.sleep(0.01)


@pytest.mark.parametrize("days", [None, 30])
async def test_a_server_removes_at_its_start(tmp_path: Path, days: int | None) -> None:
    file = write_old(tmp_path / "a.db", {"old": [said(0, "user", "hello"), said(1, "assistant", "hi")]})
    options = ImportOptions(
        files=(file,), data=tmp_path / "data", workspace=tmp_path, zone="UTC", dry_run=False
    )
    assert await trio.to_thread.run_sync(run_import, options) == 0
    config = "" if days is None else f"retention_days = {days}"
    async with open_server(tmp_path, config=config) as server:
        async with server.device() as device:
            await device.attach("young", agent="echo")
            await device.ask("young", "hello")
        if days is not None:
            await until_logged(server.data / "server.log", "removed by retention")
        assert await server.terminate() == 0
        with closing(sqlite3.connect(server.data / "builderos.db")) as connection:
            left = {name for (name,) in connection.execute("SELECT session_id FROM session")}
            rows = connection.execute("SELECT count(*) FROM journal WHERE session_id = 'old'").fetchone()
        assert left == ({"old", "young"} if days is None else {"young"})
        assert (rows == (0,)) is (days is not None)
