"""Durable appends a second: PostgreSQL against SQLite, in alternated runs of the same load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from actors.events.codec import encode_entry, encode_settings
from actors.events.committed import Committed
from actors.events.conversation import Message
from actors.events.session import Settings
from bench.figures import ratios, spread
from bench.plan import Plan
from bench.report import Row, Target
from storage.data_folder import read_boot_id
from storage.open_tables import Store
from storage.postgres.connection import PostgresServer
from storage.postgres.store import open_postgres_store
from storage.records import Entry, NewSession
from storage.store import open_store

__all__ = ["measure_appends"]

MIN_APPENDS_S = 3_000.0

SESSIONS = 64
"""Sessions that append at once, each its next row once the last one is on disk."""

_AT_MS = 1_700_000_000_000
_PIECE = "some words of an answer "


async def measure_appends(
    plan: Plan, folder: Path, urls: Sequence[str], say: Callable[[str], None]
) -> list[Row]:
    """Return the row of durable appends.

    Args:
        urls: empty databases, one for a run and one more, which does not count.
    """
    pairs = []
    for number, url in enumerate(urls):
        say(f"appends, pair {number} of {len(urls) - 1}")
        place = folder / f"appends-{number}"
        place.mkdir()
        sqlite = open_store(place / "bench.db", boot_id=read_boot_id())
        postgres = open_postgres_store(PostgresServer.parse(url), place, node="bench")
        pairs.append((await _rate(plan, sqlite), await _rate(plan, postgres)))
    theirs, ours = [one for one, _ in pairs[1:]], [one for _, one in pairs[1:]]
    limit = Target(MIN_APPENDS_S, at_most=False, of="measured")
    name = f"durable appends of {SESSIONS} sessions, against SQLite"
    return [Row(name, "/s", spread(ours), spread(theirs), ratios(ours, theirs), limit)]


async def _rate(plan: Plan, opened: AbstractAsyncContextManager[Store]) -> float:
    """Return how many appends of one row a store takes a second."""
    done = 0

    async def fill(store: Store, session_id: str) -> None:
        nonlocal done
        grant = await store.ownership.acquire(session_id)
        seq = grant.seq
        while True:
            await store.journal.append(grant, seq, [_row(seq + 1)], durable=True)
            seq += 1
            done += 1

    async with opened as store:
        settings = encode_settings(Settings("."))
        for number in range(SESSIONS):
            await store.catalog.create(NewSession(f"s{number}", "echo", "bench", settings, _AT_MS + number))
        async with trio.open_nursery() as nursery:
            for number in range(SESSIONS):
                nursery.start_soon(fill, store, f"s{number}")
            await trio.sleep(plan.appends_s / 4)  # what is slow only once: connections, pages, plans
            before, began = done, trio.current_time()
            await trio.sleep(plan.appends_s)
            rate = (done - before) / (trio.current_time() - began)
            nursery.cancel_scope.cancel(reason="measured")
    return rate


def _row(seq: int) -> Entry:
    return encode_entry(Committed(seq, seq, _AT_MS, "turn", "bench", Message(_PIECE, "0", seq * len(_PIECE))))
