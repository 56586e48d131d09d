"""A database that hangs: TCP acknowledges all that is sent, and no answer comes. Nothing waits for it without end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
import trio

from actors.session.loading import was_stored
from storage.errors import OutcomeUnknown, StorageError, StorageUnavailable
from storage.open_tables import Store
from storage.postgres.connection import PostgresServer, connect, mapped_errors
from storage.records import Grant
from tests.postgres.cluster import Cluster
from tests.postgres.nodes.wire import open_wire
from tests.postgres.stores import opened_on
from tests.storage.journal_contract import entry, new_session

ANSWER_S = 0.5


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("store", "opening"):
        monkeypatch.setattr(f"storage.postgres.{module}.ANSWER_S", ANSWER_S)


async def test_no_read_and_no_write_waits_without_end(url: str, tmp_path: Path) -> None:
    async with open_wire(url) as wire, opened_on(f"{wire.url}?connect_timeout=2", tmp_path) as store:
        await store.catalog.create(new_session("trip"))
        grant = await store.ownership.acquire("trip")
        failures: list[StorageError] = []

        async def fail(work: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(StorageError) as caught:
                await work()
            failures.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(store.catalog.page, 9)
        async with wire.restored():
            wire.hang()
            with trio.fail_after(8):
                async with trio.open_nursery() as nursery:
                    for _ in range(6):  # more than there are connections
                        nursery.start_soon(fail, lambda: store.journal.read("trip", 0, 9))
                    nursery.start_soon(fail, lambda: store.journal.append(grant, 0, [entry()], durable=True))
                    # Who gives up waits for the thread, and not for the database.
                    with trio.move_on_after(0.1):
                        await store.catalog.page(9)
        assert "it does not answer" in {str(one).partition(": ")[2] for one in failures}
        assert sum(isinstance(one, OutcomeUnknown) for one in failures) == 1
        # Nothing passed the wire before it was restored; then it did, and all is as the journal says.
        head = (await store.journal.head("trip")).seq
        assert len(await store.journal.read("trip", 0, 9)) == head
        assert await store.journal.append(grant, head, [entry()], durable=True) == head + 1


async def test_reads_that_find_no_connection_end_too(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.readers.TURN_S", 0.1)
    async with open_wire(url) as wire, opened_on(wire.url, tmp_path) as store, wire.restored():
        wire.hang()
        with pytest.RaisesGroup(*[StorageUnavailable] * 5):
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                for _ in range(5):
                    nursery.start_soon(_shielded, store.catalog.page)


async def _shielded(read: Callable[[int], Awaitable[object]]) -> None:
    with trio.CancelScope(shield=True):  # by the others' errors
        await read(9)


async def test_a_slow_statement_costs_no_connection(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path) as store:
        with pytest.raises(StorageUnavailable, match="interrupted"):
            await store.catalog._readers.all("SELECT pg_sleep(30)")


async def test_the_limit_is_of_one_statement(url: str) -> None:
    server = PostgresServer.parse(url)
    with connect(server, "test", answer_s=0.4) as connection:
        for _ in range(4):
            connection.execute("SELECT pg_sleep(0.15)")
        with pytest.raises(StorageUnavailable, match="does not answer"), mapped_errors(server):
            connection.execute("SELECT pg_sleep(30)")
        assert connection.closed


async def test_a_commit_without_an_answer_is_waited_for(own_cluster: Cluster, tmp_path: Path) -> None:
    """Its standby is gone: the commit stays under way, and no reader sees it. It is not taken for lost."""
    url = own_cluster.new_database()

    def wait_for_standbys(names: str) -> None:
        with own_cluster.connected() as connection:
            connection.execute("SET synchronous_commit = off")
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
            connection.execute("SELECT pg_reload_conf()")

    async with opened_on(url, tmp_path) as store:
        await store.catalog.create(new_session("trip"))
        grant = await store.ownership.acquire("trip")
        wait_for_standbys("nobody")
        try:
            with pytest.raises(OutcomeUnknown):
                await _append_on_and_on(store, grant)  # until the server has read its settings
            seen = _head_of(url)
            with pytest.raises(StorageUnavailable), trio.fail_after(20):
                await store.journal.head("trip")
            assert _head_of(url) == seen
        finally:
            wait_for_standbys("")
        with trio.fail_after(20):
            assert await was_stored(store.journal, "trip", seen, 0.05, lambda _: None)
        assert (await store.journal.head("trip")).seq == seen + 1


async def _append_on_and_on(store: Store, grant: Grant) -> None:
    while True:
        head = (await store.journal.head("trip")).seq
        await store.journal.append(grant, head, [entry()], durable=True)


def _head_of(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT head_seq FROM session").fetchone()
    assert found is not None
    return int(found[0])
