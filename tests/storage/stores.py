"""Stores to run tests on: a real database in a folder of its own, or the one in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from storage.store import Store, open_store
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import Stores

__all__ = ["LIMIT_S", "memory_stores", "opened", "sqlite_stores", "until"]

LIMIT_S = 40.0
"""A test that takes longer hangs."""


NOW_MS = 1_800_000_000_000
"""What a clock says in these tests."""


@asynccontextmanager
async def opened(path: Path, *, boot_id: str = "boot", vfs: str | None = None) -> AsyncIterator[Store]:
    """`open_store` under the tests' limit."""
    with trio.fail_after(LIMIT_S):
        async with open_store(path, boot_id=boot_id, now_ms=NOW_MS, vfs=vfs) as store:
            yield store


async def until(predicate: Callable[[], bool]) -> None:
    """Wait for what a file or a table shows: neither gives an event."""
    with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits, or has nothing to wait for
        while not predicate():  # noqa: ASYNC110
            await trio.sleep(0.01)


@asynccontextmanager
async def sqlite_stores(folder: Path) -> AsyncIterator[Stores]:
    """The ports over a new database in `folder`."""
    async with opened(folder / "test.db") as store:
        yield Stores(store.journal, store.ownership, store.catalog)


@asynccontextmanager
async def memory_stores(folder: Path) -> AsyncIterator[Stores]:
    """The ports over memory; `folder` stays empty."""
    store = MemoryStore()
    yield Stores(store, store, store)
