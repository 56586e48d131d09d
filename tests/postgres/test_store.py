"""What is PostgreSQL's own: the order of commits, search, lost connections, and texts that it cannot hold."""

from __future__ import annotations

import signal
from pathlib import Path

import attrs
import psycopg
import pytest
import trio

from storage.errors import (
    OutcomeUnknown,
    StorageUnavailable,
)
from storage.tables.notifications.alerts import Raise
from storage.tables.notifications.changes import START
from tests.postgres.cluster import Cluster
from tests.postgres.stores import opened_on
from tests.storage.journal_contract import entry, new_session, summary


async def test_any_text_is_kept_as_it_is(url: str, tmp_path: Path) -> None:
    text = "a\0b\ufdd0c\ufdd00 \U0001f600"
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.catalog.note("trip", draft=text)
        given = attrs.evolve(summary(), title=text)
        one = attrs.evolve(entry(kind="user_message"), search_text=text, turn_id=text)
        await store.journal.append(grant, 0, [one], summary=given, durable=True)
        record = await store.catalog.get("trip")
        assert record is not None
        assert record.summary is not None
        assert (record.draft, record.summary.title) == (text, text)
        assert (await store.journal.read("trip", 0, 1))[0].turn_id == text


async def test_numbers_of_any_size_stand_in_one_append(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        times = [1, 2**40, 2**62]
        given = [entry(at_ms=at_ms) for at_ms in times]
        await store.journal.append(grant, 0, given, durable=True, summary=summary())
        assert [row.at_ms for row in await store.journal.read("trip", 0, 9)] == times


async def test_search_ignores_case_and_finds_a_words_beginning(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        texts = ["Straße nach Zürich", "src/main.py: line 12ab", "x " * 200_000 + "too far"]
        for number, text in enumerate(texts):
            one = attrs.evolve(entry(kind="user_message"), search_text=text)
            await store.journal.append(grant, number, [one], durable=True)

        async def found(query: str) -> list[int]:
            return [hit.seq for hit in await store.search.find(query, 10)]

        assert await found("ZURICH nach") == [1]
        assert await found("zür") == [1]
        assert await found("main py") == [2]
        assert await found("12a") == [2]
        assert await found("nac zürich") == []
        assert await found("'quoted' :* & !") == []
        assert await found("") == []
        assert await found("x") == [3]
        first = await store.search.find("n", 10)
        assert await store.search.find("n", 10, before=first[0].commit_no) == []


async def test_a_late_commit_is_not_passed_over(url: str, cluster: Cluster, tmp_path: Path) -> None:
    """A transaction that began first and ends last has older numbers than rows that are committed."""
    async with opened_on(url, tmp_path) as store:
        grants = {}
        for name in ("late", "trip"):
            await store.catalog.create(new_session(name))
            grants[name] = await store.ownership.acquire(name)
        changes, seen = store.notifications.changes, []
        place = START
        with psycopg.connect(url) as late:
            late.execute(
                "INSERT INTO journal (session_id, seq, first_seq, kind, at_ms, payload)"
                " VALUES ('late', 1, 1, 'complete', 1, '')"
            )
            await store.journal.append(grants["trip"], 0, [entry(kind="complete")], durable=True)
            rows, place = await changes.page(place, {"complete"}, 10)
            seen += [row.session_id for row in rows]
            late.commit()
        for _ in range(3):
            rows, place = await changes.page(place, {"complete"}, 10)
            seen += [row.session_id for row in rows]
        assert sorted(seen) == ["late", "trip"]
        assert place == await changes.end()
        assert (await changes.page(place, {"complete"}, 10)) == ([], place)
        assert len((await changes.page(START, {"complete"}, 1))[0]) == 1


@pytest.mark.parametrize("limit", [1, 10])
async def test_the_order_of_transactions_is_that_of_numbers(
    url: str, cluster: Cluster, tmp_path: Path, limit: int
) -> None:
    """Over the number of digits too: 99 is before 100, and 100 is the end."""
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry(kind="complete")] * 3, durable=True)
        with cluster.connected(url) as connection:
            connection.execute("UPDATE journal SET xid = (97 + seq)::text::xid8")
        changes, place, seen = store.notifications.changes, START, list[int]()
        for _ in range(4):
            rows, place = await changes.page(place, {"complete"}, limit)
            seen += [row.seq for row in rows]
        assert seen == [1, 2, 3]
        assert place == await changes.end()
        assert place.startswith("100:")


async def test_rows_of_a_loaded_dump_are_read_once_more_in_their_order(
    url: str, cluster: Cluster, tmp_path: Path
) -> None:
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry(kind="complete")] * 3, durable=True)
        await store.notifications.alerts.begin(await store.notifications.changes.end())
    with cluster.connected(url) as connection:
        connection.execute("UPDATE journal SET xid = '9000000000000'")
    async with opened_on(url, tmp_path) as store:
        changes = store.notifications.changes
        assert [row.seq for row in (await changes.page(START, {"complete"}, 9))[0]] == [1, 2, 3]
        position = await store.notifications.alerts.position()
        assert position is not None
        assert (await changes.page(position, {"complete"}, 9))[0] == []


async def test_alerts_come_page_by_page(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        alerts = store.notifications.alerts
        await alerts.begin(START)
        made = [
            Raise(
                alert_id=f"a{number}",
                session_id="trip",
                seq=number,
                kind="finished",
                subject=f"t{number}",
                author=None,
                raised_at_ms=2**40 + number // 2,
                due_at_ms=0,
            )
            for number in range(4)
        ]
        assert await alerts.plan(START, START, made) == []
        found: list[str] = []
        before: tuple[int, str] | None = None
        while page := await store.notifications.deliveries.why(None, before, 3):
            found += [alert.alert_id for alert, _ in page]
            before = (page[-1][0].raised_at_ms, page[-1][0].alert_id)
        assert found == ["a3", "a2", "a1", "a0"]


async def test_a_failing_append_of_a_batch_fails_alone(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        grants = []
        for number in range(20):
            await store.catalog.create(new_session(f"s{number}"))
            grants.append(await store.ownership.acquire(f"s{number}"))
        failed: list[str] = []

        async def write(number: int) -> None:
            bad = attrs.evolve(entry(), at_ms=2**70) if number % 5 == 0 else entry()
            try:
                await store.journal.append(grants[number], 0, [bad], durable=True)
            except Exception as error:
                failed.append(f"s{number} {type(error).__name__}")

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write, number)
        assert sorted(one.split()[0] for one in failed) == ["s0", "s10", "s15", "s5"]
        for number in range(20):
            assert (await store.journal.head(f"s{number}")).seq == (0 if number % 5 == 0 else 1)


async def test_a_cancelled_read_leaves_a_pool_that_works(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        readers = store.database.readers
        for _ in range(6):
            with trio.move_on_after(0.05) as scope:
                await readers.all("SELECT pg_sleep(30)")
            assert scope.cancelled_caught
        assert await readers.all("SELECT 1") == [(1,)]
        assert (readers.running, readers.waiting) == (0, 0)


async def test_the_database_dies_and_comes_back(tmp_path: Path, own_cluster: Cluster) -> None:
    url = own_cluster.new_database()
    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session())
        grant = await store.ownership.acquire("trip")
        await store.journal.append(grant, 0, [entry("a")], durable=True)
        await trio.to_thread.run_sync(own_cluster.stop, signal.SIGQUIT)
        with pytest.raises((StorageUnavailable, OutcomeUnknown)):
            await store.journal.append(grant, 1, [entry("b")], durable=True)
        with pytest.raises(StorageUnavailable):
            await store.journal.append(grant, 1, [entry("b")], durable=True)
        with pytest.raises(StorageUnavailable):
            await store.journal.head("trip")
        await trio.to_thread.run_sync(own_cluster.start)
        assert (await store.journal.head("trip")).seq == 1
        assert await store.journal.append(grant, 1, [entry("b")], durable=True) == 2
