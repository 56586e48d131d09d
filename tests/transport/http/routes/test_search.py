"""Search takes any query, and a slow one holds up nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from storage.records import Entry
from storage.tables import search
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened
from tests.transport.client import LIMIT_S
from tests.transport.http.calls import error, open_world


async def test_search_pages_and_takes_any_query(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        kinds = ["user_message", "message", "tool_finished"]
        entries = [Entry(kind, b"", 1, search_text=f"red fox {kind}") for kind in kinds]
        await store.journal.append(grant, 0, entries, durable=True)
    async with open_world(tmp_path) as world:
        found: list[tuple[int, str]] = []
        before: str | None = None
        while True:
            params = {"q": "red", "limit": "2", **({} if before is None else {"before": before})}
            body = (await world.http.get("/api/search", params=params)).json()
            found += [(hit["seq"], hit["role"]) for hit in body["hits"]]
            before = body["next_before"]
            if before is None:
                break
        assert found == [(3, "tool"), (2, "assistant"), (1, "user")]
        assert body["hits"][0]["snippet"] == "red fox user_message"
        assert body["hits"][0]["session_id"] == "trip"
        for query in ('"', "*", "a AND", "NEAR(", "text:", "-", "'", "\0", "x" * 1000, "(((", "^"):
            assert (await world.http.get("/api/search", params={"q": query})).status_code == 200, query
        for wrong in ({}, {"q": "x" * 1001}, {"q": "x", "limit": "0"}, {"q": "x", "before": "y"}):
            assert error(await world.http.get("/api/search", params=wrong)) == (400, "bad_request")


ENDLESS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT ?1, ?2, ?3, count(*), 1, 1 FROM n
"""


async def test_slow_searches_are_busy_and_nobody_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIND", ENDLESS)
    told: list[tuple[int, str]] = []
    async with open_world(tmp_path) as world:
        await world.http.get("/metrics")  # the first one loads a library

        async def search_in_vain() -> None:
            told.append(error(await world.http.get("/api/search", params={"q": "x"})))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(search_in_vain)
            for path in ("/api/health", "/api/sessions", "/metrics"):
                assert (await world.http.get(path)).status_code == 200, path
            assert told == []
        assert told == [(503, "busy")] * 4


async def test_a_search_ends_with_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_FIND", ENDLESS)
    monkeypatch.setattr(search, "SEARCH_S", 1e6)
    async with open_world(tmp_path) as world:
        peers = [await world.served.raw() for _ in range(search.SEARCHES)]
        for peer in peers:
            await peer.stream.send_all(
                b"GET /api/search?q=x HTTP/1.1\r\nHost: x\r\nX-API-Key: key-of-phone\r\n\r\n"
            )
        finder = world.services.search
        with trio.fail_after(LIMIT_S):  # noqa: ASYNC912 - waits for its condition
            while finder._readers.running < search.SEARCHES:
                await trio.testing.wait_all_tasks_blocked(0.01)
            for peer in peers:
                await peer.stream.aclose()
            while finder._readers.running:
                await trio.testing.wait_all_tasks_blocked(0.01)
