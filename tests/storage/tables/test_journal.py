"""Both stores keep the contract of the ports."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.storage.catalog_contract import CHECKS
from tests.storage.journal_contract import Check, Stores
from tests.storage.stores import memory_stores, sqlite_stores

MakeStores = Callable[[Path], AbstractAsyncContextManager[Stores]]


@pytest.mark.parametrize("make_stores", [sqlite_stores, memory_stores])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_contract(check: Check, make_stores: MakeStores, tmp_path: Path) -> None:
    async with make_stores(tmp_path) as stores:
        await check(stores)
