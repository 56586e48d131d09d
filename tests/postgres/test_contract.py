"""PostgreSQL keeps the contract of the ports, as the other stores do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgres.stores import opened_on
from tests.storage.catalog_contract import CHECKS
from tests.storage.journal_contract import Check, Stores


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_contract(check: Check, url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        await check(Stores(store.journal, store.ownership, store.catalog))
