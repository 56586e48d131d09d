from __future__ import annotations

from pathlib import Path

import trio

from bench.boot import fill
from storage.data_folder import read_boot_id
from storage.store import open_store


async def test_what_is_filled_in_is_what_the_store_reads(tmp_path: Path) -> None:
    with trio.fail_after(60):
        await fill(tmp_path / "filled.db", sessions=5, turns=3)
        async with open_store(tmp_path / "filled.db", boot_id=read_boot_id()) as store:
            assert await store.catalog.count() == 5
            assert await store.catalog.unfinished() == []
            record = await store.catalog.get("session-4")
    assert record is not None
    assert record.summary is not None
    assert (record.head_seq, record.summary.state, record.summary.message_count) == (21, "idle", 6)
