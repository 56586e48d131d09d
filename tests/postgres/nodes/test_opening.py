"""Which node a database takes, and which it refuses with one line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from builderos.ids import wall_clock_ms
from storage.errors import ClockOff, DatabaseInUse, Fenced, StorageReadOnly, StorageVersion
from storage.postgres.connection import PostgresServer
from storage.postgres.home import HOME_NAME, WrongDatabase
from storage.postgres.nodes.store import NodeStore, open_node_store
from storage.postgres.nodes.tables import NODE_TABLES
from storage.postgres.schema import VERSION
from storage.records import OWNER
from storage.tables.audit import HEAD_NAME
from storage.tables.hash_chain import Act
from tests.postgres.cluster import ROLE, Cluster
from tests.postgres.stores import opened_on
from tests.storage.journal_contract import entry, new_session
from tests.storage.stores import LIMIT_S


@asynccontextmanager
async def opened_as(
    url: str,
    folder: Path,
    name: str,
    *,
    home: str | None = None,
    move_here: bool = False,
    title: str = "",
    now_ms: Callable[[], int] = wall_clock_ms,
) -> AsyncIterator[NodeStore]:
    """Open a node whose data folder is below `folder`."""
    data = folder / (home or name)
    data.mkdir(exist_ok=True)
    with trio.fail_after(LIMIT_S):
        async with open_node_store(
            PostgresServer.parse(url),
            data,
            name=name,
            version="1.0",
            now_ms=now_ms,
            new_home=f"home-{data.name}",
            move_here=move_here,
            title=title,
        ) as node:
            yield node


@pytest.fixture(autouse=True)
def _short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.postgres.opening.LOCK_WAIT_S", 0.3)


async def test_two_nodes_have_one_list_and_write_their_own_sessions(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await a.store.catalog.create(new_session("mine"))
        await b.store.catalog.create(new_session("yours"))
        for node in (a, b):
            found = await node.store.catalog.page(9)
            assert {one.session_id: one.owner for one in found} == {"mine": "a", "yours": "b"}
            assert await node.store.catalog.count() == 2
        with pytest.raises(Fenced, match="its home is b"):
            await a.store.ownership.acquire("yours")
        grant = await b.store.ownership.acquire("yours")
        await b.store.journal.append(grant, 0, [entry()], durable=True)
        assert await a.journal.heads(["mine", "yours", "none"]) == {"mine": ("a", 1, 0), "yours": ("b", 1, 1)}


async def test_what_a_node_left_over_is_cleaned_up_by_itself(
    url: str, cluster: Cluster, tmp_path: Path
) -> None:
    async with opened_as(url, tmp_path, "a") as a:
        await a.store.catalog.create(attrs.evolve(new_session("hidden-a"), hidden=True))
        await a.store.catalog.create(new_session("half-a"))
        with cluster.connected(url) as connection:
            connection.execute("INSERT INTO removal (session_id, owner) VALUES ('half-a', 'a')")
        async with opened_as(url, tmp_path, "b"):
            with cluster.connected(url) as connection:
                assert connection.execute("SELECT count(*) FROM session").fetchone() == (2,)
                assert connection.execute("SELECT count(*) FROM removal").fetchone() == (1,)
    async with opened_as(url, tmp_path, "a"):
        with cluster.connected(url) as connection:
            assert connection.execute("SELECT session_id FROM session").fetchall() == [("half-a",)]
            assert connection.execute("SELECT count(*) FROM removal").fetchone() == (0,)


async def test_a_name_is_held_once_and_belongs_to_a_folder(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a"):
        with pytest.raises(DatabaseInUse, match="node a runs already: builderos"):
            async with opened_as(url, tmp_path, "a", home="other"):
                pass
        with pytest.raises(DatabaseInUse, match="in use by builderos"):
            async with opened_on(url, tmp_path):
                pass
    with pytest.raises(WrongDatabase, match="node a has another data folder"):
        async with opened_as(url, tmp_path, "a", home="other"):
            pass
    assert not (tmp_path / "other" / HOME_NAME).exists(), "a node that is refused leaves nothing behind"
    with pytest.raises(WrongDatabase, match="it is the folder of node a"):
        async with opened_as(url, tmp_path, "b", home="a"):
            pass
    with pytest.raises(WrongDatabase, match="a share it; start with --node"):
        async with opened_on(url, tmp_path / "a"):
            pass
    async with opened_as(url, tmp_path, "a", home="other", move_here=True) as moved:
        assert moved.office.incarnation == 2


async def test_a_server_with_a_database_of_its_own_keeps_nodes_out(url: str, tmp_path: Path) -> None:
    async with opened_on(url, tmp_path):
        with pytest.raises(DatabaseInUse, match="needs --node too"):
            async with opened_as(url, tmp_path, "a"):
                pass


async def test_sessions_of_a_single_server_become_its_folders_nodes(url: str, tmp_path: Path) -> None:
    single = tmp_path / "a"
    single.mkdir()
    async with opened_on(url, single, node="home-a") as store:
        made = await store.catalog.create(new_session("old"))
        assert made.owner == OWNER
    with pytest.raises(WrongDatabase, match="start that one with --node first"):
        async with opened_as(url, tmp_path, "b"):
            pass
    async with opened_as(url, tmp_path, "a") as node:
        found = await node.store.catalog.get("old")
        assert found is not None
        assert found.owner == "a"
    async with opened_as(url, tmp_path, "b") as node:
        assert await node.store.catalog.count() == 1


UNDONE = (
    "DROP TRIGGER device_changed ON device; DROP TRIGGER pairing_changed ON pairing;"
    " DROP FUNCTION bos_keys_changed; DROP TABLE node, mail; DROP SEQUENCE mail_no; DROP INDEX session_by_owner;"
    " ALTER TABLE removal DROP COLUMN owner; DELETE FROM meta WHERE key = 'key_version'",
    "ALTER TABLE node DROP COLUMN name, DROP COLUMN connections, DROP COLUMN is_first",
    "DROP TABLE chunk; ALTER TABLE mail ALTER COLUMN body SET STORAGE EXTENDED",
)
"""What undoes each step of the tables, the first one first."""


@pytest.mark.parametrize("version", range(1, VERSION))
async def test_an_older_database_gets_what_nodes_need(
    version: int, url: str, cluster: Cluster, tmp_path: Path
) -> None:
    async with opened_on(url, tmp_path, node="home-a") as store:
        await store.catalog.create(new_session("old"))
    assert NODE_TABLES.count("CREATE") == 8, "what is new must be undone above"
    assert len(UNDONE) == VERSION - 1
    with cluster.connected(url) as connection:
        for undo in reversed(UNDONE[version - 1 :]):
            connection.execute(undo)
        connection.execute("UPDATE meta SET value = %s WHERE key = 'schema_version'", (str(version),))
    async with opened_on(url, tmp_path) as store:
        assert await store.catalog.count() == 1
        await store.devices.set_first_key("k" * 32, now_ms=1)
    with cluster.connected(url) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'key_version'").fetchone() == ("1",)
        assert connection.execute("SELECT count(*) FROM chunk").fetchone() == (0,)


async def test_a_node_says_how_it_is(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a", title="Mac mini") as node:
        node.office.connections = lambda: 7
        async with trio.open_nursery() as nursery:
            await nursery.start(node.office.run)
            (seen,) = node.office.nodes.values()
            assert (seen.id, seen.name, seen.connections, seen.is_first) == ("a", "Mac mini", 7, True)
            nursery.cancel_scope.cancel()


async def test_nodes_that_start_at_once_make_the_tables_once(url: str, tmp_path: Path) -> None:
    started: list[str] = []

    async def start(name: str) -> None:
        async with opened_as(url, tmp_path, name) as node:
            started.append(node.office.node)
            while len(started) < 3:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(start, name)
    assert sorted(started) == ["a", "b", "c"]


async def test_jobs_of_two_nodes_that_meet_are_all_done(url: str, tmp_path: Path) -> None:
    """The audit's rows are numbered, and each follows the one before: two writers take turns."""
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:

        async def note(node: NodeStore, name: str) -> None:
            for number in range(40):
                await node.store.audit.append([Act(at_ms=number, act=name)])

        async with trio.open_nursery() as nursery:
            for node, name in ((a, "one"), (b, "two")):
                nursery.start_soon(note, node, name)
                nursery.start_soon(note, node, name)
        assert await a.store.audit.verify() == []
        rows = await a.store.audit.page(0)
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) == 160


async def test_only_the_first_of_several_nodes_makes_the_first_key(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        assert await a.store.devices.add_first_key("x" * 32, now_ms=1)
        assert not await b.store.devices.add_first_key("y" * 32, now_ms=1)
        assert b.store.devices.find("x" * 32) is not None
        assert b.store.devices.find("y" * 32) is None


async def test_a_node_that_joins_finds_the_audit_whole(url: str, tmp_path: Path) -> None:
    """What others wrote before, and write later, is not missing from its own record of the end."""
    for name in ("a", "b"):
        async with opened_as(url, tmp_path, "a") as first:
            await first.store.audit.append([Act(at_ms=1, act=f"act {name}")])
            async with opened_as(url, tmp_path, "b") as second:
                audit = second.store.audit
                await audit.check_head(now_ms=2, joins=second.office.incarnation == 1)
                await first.store.audit.append([Act(at_ms=3, act="later")])
                assert await audit.verify() == []
    async with opened_as(url, tmp_path, "b") as second:
        (tmp_path / "b" / HEAD_NAME).unlink()
        await second.store.audit.check_head(now_ms=4, joins=second.office.incarnation == 1)
        acts = [row.act.act for row in await second.store.audit.page(0)]
        assert acts == ["act a", "later", "act b", "later", "audit_cut"], "a folder that had joined lost it"


@pytest.mark.parametrize(("ahead_s", "words"), [(10, "10 s ahead of"), (-10, "10 s behind")])
async def test_a_node_whose_clock_is_off_does_not_start(
    url: str, cluster: Cluster, tmp_path: Path, ahead_s: int, words: str
) -> None:
    with pytest.raises(ClockOff, match=f"clock is {words} the database's; set the clocks"):
        async with opened_as(url, tmp_path, "a", now_ms=lambda: wall_clock_ms() + ahead_s * 1000):
            pass
    with cluster.connected(url) as connection:
        assert connection.execute(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        ).fetchone() == (0,)
    assert list((tmp_path / "a").iterdir()) == []


async def test_a_clock_that_goes_wrong_is_one_line(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.nodes.office.CLOCK_EVERY", 1)
    caplog.set_level("INFO", "builderos.storage")
    ahead_s = [0]
    clock = partial(_clock, ahead_s)
    async with opened_as(url, tmp_path, "a", now_ms=clock) as node, trio.open_nursery() as nursery:
        await nursery.start(node.office.run)
        for ahead_s[0] in (3, 3, 1, 1):
            for _ in range(2):  # one may have begun before
                seen = node.office.beat_at
                while node.office.beat_at == seen:
                    await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [one.getMessage() for one in caplog.records if one.getMessage().startswith("clock")] == [
        "clock: this machine's clock is 3 s ahead of the database's; set the clocks, by NTP for example",
        "clock: it agrees with the database's again",
    ]


def _clock(ahead_s: list[int]) -> int:
    return wall_clock_ms() + ahead_s[0] * 1000


@pytest.mark.parametrize(("version", "order"), [("99", "newer"), ("0", "older")])
async def test_tables_of_another_version_are_refused(
    url: str, cluster: Cluster, tmp_path: Path, version: str, order: str
) -> None:
    async with opened_as(url, tmp_path, "a"):
        pass
    with cluster.connected(url) as connection:
        connection.execute("UPDATE meta SET value = %s WHERE key = 'schema_version'", (version,))
    with pytest.raises(StorageVersion, match=f"version {version} is {order} than this program's"):
        async with opened_as(url, tmp_path, "b"):
            pass
    with cluster.connected(url) as connection:
        assert connection.execute("SELECT id FROM node").fetchall() == [("a",)]
    assert not (tmp_path / "b" / HOME_NAME).exists()


async def test_a_role_without_rights_is_refused(url: str, cluster: Cluster, tmp_path: Path) -> None:
    """It may make no tables, or may not use those that are there."""
    with cluster.connected() as connection:
        connection.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN")
    guest = url.replace(ROLE, "guest")
    for name in ("a", "b"):
        with pytest.raises(StorageReadOnly, match="the role may not do this"):
            async with opened_as(guest, tmp_path, name):
                pass
        assert list((tmp_path / name).iterdir()) == []
        async with opened_as(url, tmp_path, "made"):
            pass
