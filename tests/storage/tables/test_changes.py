"""Reading all journals from a position: each row once, in the order of commits, also while others write."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from storage.records import Entry, NewSession
from storage.store import Store
from storage.tables.notifications import changes
from storage.tables.notifications.changes import NOTABLE_KINDS, START
from tests.storage.stores import opened


async def write(store: Store, session_id: str, kinds: list[str], *, at_ms: int = 1) -> None:
    if await store.catalog.get(session_id) is None:
        await store.catalog.create(NewSession(session_id, "echo", "d", b"{}", 1))
    grant = await store.ownership.acquire(session_id)
    entries = [Entry(kind, b"{}", at_ms) for kind in kinds]
    await store.journal.append(grant, grant.seq, entries, durable=False)


async def all_rows(store: Store, kinds: frozenset[str], limit: int = 2) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    position = START
    while True:
        rows, after = await store.notifications.changes.page(position, kinds, limit)
        if after == position:
            assert not rows
            return found
        found += [(row.session_id, row.seq) for row in rows]
        position = after


@pytest.mark.parametrize("kinds", [NOTABLE_KINDS, frozenset({"complete", "delivery"})])
async def test_each_row_comes_once(
    kinds: frozenset[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "SCAN_ROWS", 3)
    async with opened(tmp_path / "x.db") as store:
        for number in range(4):
            await write(store, f"s{number % 2}", ["message", "complete", "thinking", "delivery", "message"])
        end = await store.notifications.changes.end()
        found = await all_rows(store, kinds)
        wanted = [("s0", 2), ("s0", 4), ("s1", 2), ("s1", 4), ("s0", 7), ("s0", 9), ("s1", 7), ("s1", 9)]
        assert found == [one for one in wanted if "delivery" in kinds or one[1] in (2, 7)]
        assert await store.notifications.changes.page(end, kinds, 10) == ([], end)
        await write(store, "s0", ["complete"], at_ms=5)
        rows, after = await store.notifications.changes.page(end, kinds, 10, since_ms=6)
        assert (rows, after != end) == ([], True), "a page may be empty and the position moves"


async def test_nothing_is_missed_while_others_write(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        seen: list[tuple[str, int]] = []
        done = 0

        async def fill(session_id: str) -> None:
            nonlocal done
            for _ in range(10):
                await write(store, session_id, ["complete", "message"])
            done += 1

        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(fill, name)
            position, again = START, True
            while again:
                again = done < 2
                rows, position = await store.notifications.changes.page(position, NOTABLE_KINDS, 100)
                seen += [(row.session_id, row.seq) for row in rows]
        assert len(seen) == len(set(seen)) == 20
