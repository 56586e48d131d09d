"""The number of sessions is known without a read of the database: health asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from storage.errors import SessionExists, SessionMissing
from storage.sqlite.readers import READERS
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_the_count_needs_no_reader(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session("a"))
    async with opened(tmp_path / "x.db") as store, trio.open_nursery() as nursery:
        readers = store.catalog._readers
        for _ in range(READERS):
            nursery.start_soon(readers.all, ENDLESS)
        await trio.testing.wait_all_tasks_blocked()
        assert await store.catalog.count() == 1
        await store.catalog.create(new_session("b"))
        await store.catalog.create(new_session("c"))
        with pytest.raises(SessionExists):
            await store.catalog.create(new_session("c"))
        assert await store.catalog.count() == 3
        await store.catalog.set_aside("a", "a.aside")
        assert await store.catalog.count() == 4
        await store.catalog.remove("b")
        with pytest.raises(SessionMissing):
            await store.catalog.remove("b")
        assert await store.catalog.count() == 3
        nursery.cancel_scope.cancel(reason="enough")
    async with opened(tmp_path / "x.db") as store:
        assert await store.catalog.count() == 3
        assert len(await store.catalog.page(10)) == 3
