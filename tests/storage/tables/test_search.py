"""Search finds what entries gave for it, and forgets what a fold took away."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import SearchBusy
from storage.records import Entry, Fold
from storage.schema import migrate
from storage.sqlite.connection import open_writer
from storage.sqlite.readers import Readers
from storage.store import Store
from storage.tables import search
from storage.tables.search import Search
from storage.tables.snippet import SNIPPET
from tests.storage.journal_contract import new_session
from tests.storage.stores import opened


def said(text: str | None, at_ms: int = 1, kind: str = "message") -> Entry:
    return Entry(kind, b"", at_ms, turn_id="t", search_text=text)


async def seqs(store: Store, query: str) -> list[int]:
    return [hit.seq for hit in await store.search.find(query, 10)]


async def test_hits_come_newest_first_with_their_place(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        for name in ("a", "b"):
            await store.catalog.create(new_session(name))
        one = await store.ownership.acquire("a")
        two = await store.ownership.acquire("b")
        given = [said("the red fox", 5, "user_message"), said(None), said("a blue whale")]
        await store.journal.append(one, 0, given, durable=False)
        await store.journal.append(two, 0, [said("the red and the blue")], durable=False)
        newest, older = await store.search.find("red", 10)
        assert (newest.session_id, newest.seq) == ("b", 1)
        assert (older.session_id, older.seq, older.kind, older.at_ms) == ("a", 1, "user_message", 5)
        assert older.snippet == "the red fox"
        assert [hit.session_id for hit in await store.search.find("red", 1)] == ["b"]
        assert list(await store.search.find("red", 10, before=newest.commit_no)) == [older]
        assert await seqs(store, "blue wha") == [3]
        for nothing in ("green", "", "  ", "red green", "!!", '"', "re OR blue", "search:red"):
            assert await seqs(store, nothing) == [], nothing


async def test_a_word_as_long_as_a_message_is_not_all_in_the_hit(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session("a"))
        held = await store.ownership.acquire("a")
        await store.journal.append(held, 0, [said("x" * 200_000)], durable=False)
        (hit,) = await store.search.find("xxx", 10)
        assert 0 < len(hit.snippet) <= SNIPPET + 2


async def test_a_fold_moves_what_can_be_found(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [said("hel"), said("lo"), said("lonely")], durable=False)
        assert await seqs(store, "lo") == [3, 2]
        fold = [Fold(1, 2, said("hello"))]
        await store.journal.append(grant, 3, [], fold=fold, durable=False)
        assert await seqs(store, "lo") == [3]
        assert await seqs(store, "hello") == [2]


ENDLESS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT ?1, ?2, ?3, count(*), 1, 1 FROM n
"""
"""A search that only an interrupt ends."""


async def test_one_word_many_times_costs_no_more_than_many_words(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        outputs = [said("ok " * 16_000, kind="tool_finished") for _ in range(10)]
        await store.journal.append(grant, 0, outputs, durable=False)
        assert await seqs(store, "ok") == list(range(10, 0, -1))
        assert await seqs(store, "ok " * 400) == list(range(10, 0, -1))
        assert await seqs(store, "-".join(["ok"] * 400)) == list(range(10, 0, -1))


async def test_searches_end_in_time_and_hold_up_no_other_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    async with opened(tmp_path / "x.db") as store:
        await store.catalog.create(new_session())

        async def search_in_vain() -> None:
            with pytest.raises(SearchBusy):
                await store.search.find("x", 10)
            ended.append("search")

        monkeypatch.setattr(search, "_FIND", ENDLESS)
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(search_in_vain)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(20):
                assert len(await store.catalog.page(10)) == 1
                assert (await store.journal.head("trip")).seq == 0
            ended.append("reads")
        assert ended == ["reads", *["search"] * 8]
        monkeypatch.undo()
        assert await seqs(store, "x") == [], "the connections work on"


async def test_more_searches_than_may_wait_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_FIND", ENDLESS)
    monkeypatch.setattr(search, "SEARCH_S", 1e6)
    async with opened(tmp_path / "x.db") as store, trio.open_nursery() as nursery:
        for _ in range(search.SEARCHES + search.SEARCHES_WAITING):
            nursery.start_soon(store.search.find, "x", 10)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(SearchBusy):
            await store.search.find("x", 10)
        nursery.cancel_scope.cancel(reason="the clients left")


async def test_a_cancelled_read_is_interrupted(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    async with opened(tmp_path / "x.db"):
        readers = Readers(tmp_path / "x.db", size=1)
        try:
            for _ in range(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(readers.all, endless)
                    nursery.start_soon(readers.all, endless)
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel(reason="nobody waits for it")
                assert await readers.all("SELECT 1") == [(1,)]
        finally:
            readers.close()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.one_of(st.text(max_size=30), st.text(alphabet='"*^():{}+-ANDORT \0', max_size=12)))
def test_any_text_is_a_query(query: str, tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    if not path.exists():
        connection = open_writer(path)
        migrate(connection, path)
        connection.close()

    async def main() -> None:
        readers = Readers(path)
        try:
            assert list(await Search(readers).find(query, 10)) == []
        finally:
            readers.close()

    trio.run(main)
