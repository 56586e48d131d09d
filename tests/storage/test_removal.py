"""A removed session is gone at once, its rows soon after, also over a restart; others do not notice."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from storage.errors import SessionExists, SessionMissing
from storage.records import Entry, Head, Summary
from storage.sqlite.connection import open_reader
from storage.store import Store
from storage.tables import sessions
from storage.tables.sessions import REMOVED_AT_ONCE
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import Stores, new_session, started
from tests.storage.stores import opened

ROWS = 3 * REMOVED_AT_ONCE + 5


async def fill(store: Store, session_id: str) -> None:
    await store.catalog.create(new_session(session_id))
    grant = await store.ownership.acquire(session_id)
    texts = [Entry("delivery", b"x", 1, search_text=session_id, command_id=f"m{n}") for n in range(ROWS)]
    summary = Summary("", "idle", 0, 0, True, b"", None, 0)
    await store.journal.append(grant, 0, texts, summary=summary, durable=False)
    await store.catalog.note(session_id, draft="a draft")


def left(path: Path, session_id: str) -> dict[str, int]:
    """Rows of that session in each table that has any."""
    reader = open_reader(path)
    counted = {}
    for table in ("session", "summary", "draft", "command", "journal", "search", "removal"):
        sql = f"SELECT count(*) FROM {table} WHERE session_id = ?"
        counted[table] = int(reader.execute(sql, (session_id,)).get)
    reader.close()
    return {table: count for table, count in counted.items() if count}


async def test_a_removed_session_leaves_nothing_and_takes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        for name in ("gone", "kept"):
            await fill(store, name)
        before = left(path, "kept")
        grant = await store.ownership.acquire("gone")
        await store.catalog.remove("gone")
        assert left(path, "gone") == {}
        assert left(path, "kept") == before
        for act in (
            lambda: store.catalog.remove("gone"),
            lambda: store.journal.append(grant, ROWS, [], durable=False),
        ):
            with pytest.raises(SessionMissing):
                await act()
        assert [hit.session_id for hit in await store.search.find("gone", 5)] == []
        await store.catalog.create(new_session("gone"))
        assert await store.journal.head("gone") == Head(1, 0)


async def test_a_removal_that_was_broken_off_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "REMOVED_AT_ONCE", 1)  # so that it takes long
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await fill(store, "gone")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.catalog.remove, "gone")
            while await store.catalog.get("gone") is not None:
                pass
            nursery.cancel_scope.cancel()
        assert left(path, "gone")["removal"] == 1
        with pytest.raises(SessionExists):
            await store.catalog.create(new_session("gone"))
    async with opened(path):
        assert left(path, "gone") == {}


async def test_removed_from_memory() -> None:
    store = MemoryStore()
    await started(Stores(store, store, store))
    await store.remove("trip")
    assert await store.get("trip") is None
    with pytest.raises(SessionMissing):
        await store.remove("trip")
