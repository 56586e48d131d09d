"""Stores on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from storage.open_tables import Store
from storage.postgres.connection import PostgresServer
from storage.postgres.store import open_postgres_store
from tests.storage.stores import LIMIT_S

__all__ = ["opened_on"]


@asynccontextmanager
async def opened_on(
    url: str, folder: Path, *, node: str = "here", move_here: bool = False
) -> AsyncIterator[Store]:
    """`open_postgres_store` under the tests' limit."""
    with trio.fail_after(LIMIT_S):
        async with open_postgres_store(
            PostgresServer.parse(url), folder, node=node, move_here=move_here
        ) as store:
            yield store
