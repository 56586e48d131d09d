"""A journal that is set aside leaves an empty session in the next epoch, and can be read and removed under its new id."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import Fenced, SessionExists, SessionMissing, StorageCorrupt, StorageUnavailable
from storage.read_only import open_reading
from storage.records import Entry, Head, Summary
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened

ENTRIES = [
    Entry("delivery", b"x", 1, search_text="word", command_id=f"m{n}", command_state="s") for n in range(3)
]


async def test_set_aside(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session("trip"))
        grant = await store.ownership.acquire("trip")
        kept = Summary("title", "idle", 3, 0, False, b"snapshot", "hub", 7)
        await store.journal.append(grant, 0, ENTRIES, durable=False, summary=kept)
        await store.catalog.note("trip", read_seq=2)
        await store.catalog.set_aside("trip", "~aside")
        assert await store.journal.head("trip") == Head(2, 0)
        assert await store.journal.head("~aside") == Head(1, 3)
        assert await store.journal.read("trip", 0, 9) == []
        assert [row.seq for row in await store.journal.read("~aside", 0, 9)] == [1, 2, 3]
        assert await store.journal.find_commands("trip", ["m0"]) == {}
        record = await store.catalog.get("trip")
        assert record is not None
        assert (record.summary, record.read_seq) == (kept, 0)
        with pytest.raises(Fenced):
            await store.journal.append(grant, 3, [], durable=False)
        with pytest.raises(SessionExists):
            await store.catalog.set_aside("trip", "~aside")
        with pytest.raises(SessionMissing):
            await store.catalog.set_aside("nothing", "~other")
        grant = await store.ownership.acquire("trip")
        assert await store.journal.append(grant, 0, ENTRIES[:1], durable=False) == 1
        await store.catalog.remove("~aside")
        assert [hit.session_id for hit in await store.search.find("word", 9)] == ["trip"]
        assert set(await store.journal.find_commands("trip", ["m0", "m1"])) == {"m0"}


async def test_a_database_is_read_beside_its_writer(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.catalog.create(new_session("trip"))
        async with open_reading(path) as reading:
            grant = await store.ownership.acquire("trip")
            await store.journal.append(grant, 0, ENTRIES, durable=False)
            assert len(await reading.journal.read("trip", 0, 9)) == 3
            with pytest.raises(StorageUnavailable):
                await reading.catalog.remove("trip")


async def test_what_is_no_database_of_ours_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        async with open_reading(tmp_path / "missing.db"):
            pass
    (tmp_path / "text.db").write_text("something else " * 1000)
    with pytest.raises(StorageCorrupt):
        async with open_reading(tmp_path / "text.db"):
            pass
    assert not (tmp_path / "missing.db").exists()
