"""Which database a server takes, which it refuses, and what is in a new one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from storage.errors import (
    DatabaseInUse,
    StorageCorrupt,
    StorageError,
    StorageUnavailable,
    StorageVersion,
)
from storage.postgres.connection import PostgresServer
from storage.postgres.home import HOME_NAME, WrongDatabase
from storage.postgres.store import open_postgres_store
from storage.schema import migrate
from storage.sqlite.connection import open_writer
from tests.postgres.cluster import Cluster
from tests.postgres.stores import opened_on
from tests.storage.journal_contract import new_session

ONLY_POSTGRES = {"journal.xid", "search.rowid", "search.words", "removal.owner"}
OF_NODES = ("node.", "mail.", "chunk.")


def columns_of_sqlite(folder: Path) -> set[str]:
    connection = open_writer(folder / "x.db")
    try:
        migrate(connection, folder / "x.db")
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        own = [name for name in tables if not name.startswith(("sqlite_", "search_"))]
        return {
            f"{name}.{row[1]}" for name in own for row in connection.execute(f"PRAGMA table_info({name})")
        }
    finally:
        connection.close()


async def test_both_databases_have_the_same_columns(url: str, cluster: Cluster, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path):
        with cluster.connected(url) as connection:
            rows = connection.execute(
                "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
            )
            found = {str(name) for (name,) in rows if not str(name).startswith(OF_NODES)}
    assert found - ONLY_POSTGRES == columns_of_sqlite(tmp_path)


async def test_a_second_server_does_not_start(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.opening.LOCK_WAIT_S", 0.1)
    async with opened_on(url, tmp_path):
        with pytest.raises(DatabaseInUse, match="builderos"):
            async with opened_on(url, tmp_path):
                pass
    async with opened_on(url, tmp_path) as store:
        assert await store.catalog.count() == 0


async def test_folder_and_database_belong_together(url: str, cluster: Cluster, tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
    async with opened_on(url, ours, node="a") as store:
        await store.catalog.create(new_session())
    with pytest.raises(WrongDatabase, match="another data folder"):
        async with opened_on(url, other, node="b"):
            pass
    assert not (other / HOME_NAME).exists()
    with pytest.raises(WrongDatabase, match="another database"):
        async with opened_on(cluster.new_database(), ours, node="a"):
            pass
    async with opened_on(url, ours, node="c") as store:
        assert await store.catalog.count() == 1
    async with opened_on(url, other, node="b", move_here=True) as store:
        assert await store.catalog.count() == 1
    with pytest.raises(WrongDatabase, match="another data folder"):
        async with opened_on(url, ours, node="a"):
            pass


async def test_a_database_of_others_or_of_another_version_is_refused(
    url: str, cluster: Cluster, tmp_path: Path
) -> None:
    with cluster.connected(url) as connection:
        connection.execute("CREATE TABLE theirs (x int)")
        with pytest.raises(StorageCorrupt, match="use an empty one"):
            async with opened_on(url, tmp_path):
                pass
        connection.execute("DROP TABLE theirs")
        async with opened_on(url, tmp_path):
            pass
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(StorageVersion, match="newer"):
        async with opened_on(url, tmp_path):
            pass


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://bos@127.0.0.1:1/x", "cannot be reached"),
        ("postgresql://bos:geheim@127.0.0.1:1/x", "cannot be reached"),
    ],
)
async def test_a_missing_server_is_one_line_without_a_password(url: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=reason) as caught:
        async with opened_on(url, tmp_path):
            pass
    assert "geheim" not in str(caught.value)
    assert "geheim" not in repr(PostgresServer.parse(url)) + PostgresServer.parse(url).url


async def test_a_server_that_was_replaced_while_cut_off_ends(
    url: str, cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.RaisesGroup(DatabaseInUse, flatten_subgroups=True):
        async with opened_on(url, tmp_path) as store:
            with cluster.connected(url) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                    " (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
                connection.execute("UPDATE meta SET value = '7' WHERE key = 'generation'")
            while True:
                try:
                    await store.journal.check_writable()
                except StorageError:
                    await trio.lowlevel.checkpoint()


async def test_a_standby_without_synchronous_commit_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = "SELECT 150000::bigint, 'UTF8', true"
    monkeypatch.setattr("storage.postgres.schema._SERVER", there)
    with pytest.raises(StorageUnavailable, match="synchronous_standby_names"):
        async with opened_on(url, tmp_path):
            pass
    opened = partial(open_postgres_store, PostgresServer.parse(url), tmp_path, node="a")
    async with opened(allow_asynchronous=True) as store:
        assert await store.catalog.count() == 0
