"""Checkpoints aside: the fact that they rest on, and that the WAL stays small while the writer never
rests."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import apsw
import attrs
import pytest
import trio

from storage.records import Entry, Grant
from storage.sqlite import checkpoint
from storage.sqlite.checkpoint import CATCH_UP_PAGES, CHECKPOINT_PAGES
from storage.sqlite.connection import open_reader, open_writer
from storage.store import Store
from tests.storage.journal_contract import new_session, summary
from tests.storage.stores import opened


def test_a_connection_that_has_never_read_does_not_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = open_writer(path)
    aside = apsw.Connection(str(path))
    writer.execute("CREATE TABLE t (a)")
    writer.execute("INSERT INTO t VALUES (1)")
    assert aside.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE) == (-1, -1)
    assert aside.execute("SELECT count(*) FROM t").get == 1
    pages, moved = aside.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    assert pages == moved > 0
    aside.close()
    writer.close()


async def write_pages(store: Store, grant: Grant, seq: int, pages: int) -> int:
    """Write durably: without fsync the writer outruns any disk, into the system's memory."""
    for _ in range(pages // 40):
        given = [Entry("message", bytes(160_000), 1)]
        seq = await store.journal.append(grant, seq, given, durable=True)
    await trio.lowlevel.checkpoint()
    return seq


async def test_the_wal_stays_small_while_the_writer_never_rests(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        grants = []
        for n in range(4):
            await store.catalog.create(new_session(f"s{n}"))
            grants.append(await store.ownership.acquire(f"s{n}"))
        async with trio.open_nursery() as nursery:
            for grant in grants:
                nursery.start_soon(write_pages, store, grant, 0, 3 * CATCH_UP_PAGES)
        figures = store.statistics().checkpoints
        assert figures.passes > 3
        assert path.with_name("x.db-wal").stat().st_size < 6 * CATCH_UP_PAGES * 4096
    assert path.stat().st_size > 11 * CATCH_UP_PAGES * 4096


async def test_a_piece_changes_four_pages(tmp_path: Path) -> None:
    """Its row, the row's place in its session, how far the session is, and how far its hub is."""
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session("s"))
        grant = await store.ownership.acquire("s")
        kept = summary(unfinished=True)
        pages = []
        for seq in range(20):
            told = attrs.evolve(kept, hub_seq=seq, snapshot=None if seq else b"{}")
            await store.journal.append(grant, seq, [Entry("message", b"{}", 1)], summary=told, durable=False)
            pages.append(store.statistics().checkpoints.wal_pages)
        assert [after - before for before, after in pairwise(pages)][1:] == [4] * 18


async def test_a_wal_that_a_reader_keeps_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoint, "LOG_WAL_PAGES", 2 * CHECKPOINT_PAGES)
    path = tmp_path / "x.db"
    caplog.set_level(logging.WARNING, "builderos.storage")
    async with opened(path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        seq = await write_pages(store, grant, 0, 200)
        reader = open_reader(path)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").get  # noqa: B018
        while not caplog.records:
            seq = await write_pages(store, grant, seq, 200)
        seq = await write_pages(store, grant, seq, 2 * CHECKPOINT_PAGES)
        reader.close()
    assert [record.getMessage().partition(" holds ")[0] for record in caplog.records] == [f"{path}-wal"]
