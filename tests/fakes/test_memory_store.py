"""What the store in memory can do beside the contract: fail on demand."""

from __future__ import annotations

import pytest

from storage.errors import OutcomeUnknown, StorageFull
from storage.records import Head
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import Stores, entry, started


async def test_an_append_that_fails_before_it_took_effect() -> None:
    store = MemoryStore()
    grant = await started(Stores(store, store, store))
    store.fail_next_append(StorageFull("full"))
    with pytest.raises(StorageFull):
        await store.append(grant, 0, [entry()], durable=True)
    assert await store.head("trip") == Head(1, 0)
    assert await store.append(grant, 0, [entry()], durable=True) == 1


async def test_an_append_that_fails_after_it_took_effect() -> None:
    store = MemoryStore()
    grant = await started(Stores(store, store, store))
    store.fail_next_append(OutcomeUnknown("who knows"), after=True)
    with pytest.raises(OutcomeUnknown):
        await store.append(grant, 0, [entry()], durable=True)
    assert await store.head("trip") == Head(1, 1)
    assert store.appends == 1


async def test_while_unavailable_all_is_read_and_nothing_written() -> None:
    store = MemoryStore()
    grant = await started(Stores(store, store, store))
    store.unavailable = StorageFull("full")
    for write in (
        lambda: store.append(grant, 0, [entry()], durable=False),
        store.check_writable,
        lambda: store.acquire("trip"),
        lambda: store.note("trip", read_seq=1),
    ):
        with pytest.raises(StorageFull):
            await write()
    assert await store.head("trip") == Head(1, 0)
    store.unavailable = None
    await store.check_writable()
