"""A session's home in the database: who may change it, and that a change is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.errors import Fenced, SequenceConflict, SessionMissing
from storage.node_records import Move
from storage.records import Summary
from tests.postgres.cluster import Cluster
from tests.postgres.nodes.test_opening import opened_as
from tests.storage.journal_contract import entry, new_session

SUMMARY = Summary("", "idle", 0, 0, unfinished=True, snapshot=b"moved", hub_id=None, hub_seq=0)


async def test_a_home_lets_go_once_and_is_fenced(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await a.store.catalog.create(new_session("trip"))
        old = await a.store.ownership.acquire("trip")
        await a.store.journal.append(old, 0, [entry()], durable=True)
        move = Move("trip", "a", old.owner_epoch, 1, "b", is_away=False)
        await a.journal.move(move, [entry(), entry()], (), SUMMARY)
        found = await b.store.catalog.get("trip")
        assert found is not None
        assert (found.owner, found.owner_epoch, found.head_seq) == ("b", old.owner_epoch + 1, 3)
        assert found.summary is not None
        assert found.summary.snapshot == b"moved"
        assert await b.store.catalog.unfinished() == ["trip"]
        assert await a.store.catalog.unfinished() == []
        with pytest.raises(Fenced):
            await a.store.journal.append(old, 3, [entry()], durable=True)
        with pytest.raises(Fenced, match="its home is b"):
            await a.store.ownership.acquire("trip")
        with pytest.raises(Fenced):
            await a.journal.move(move, [entry()], (), SUMMARY)
        assert await a.journal.elsewhere(["trip", "none"]) == {"trip": "b"}
        assert await b.journal.elsewhere(["trip"]) == {}
        assert await a.journal.counts() == {"b": 1}
        grant = await b.store.ownership.acquire("trip")
        await b.store.journal.append(grant, 3, [entry()], durable=True)
        with pytest.raises(Fenced):
            await a.journal.move(Move("none", "a", 1, 0, "b", is_away=False), [], (), SUMMARY)


async def test_only_a_home_that_is_away_is_passed_over(url: str, cluster: Cluster, tmp_path: Path) -> None:
    """By the database's clock. A session that is further on is left as it was."""
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        await a.store.catalog.create(new_session("trip"))
        old = await a.store.ownership.acquire("trip")
        await a.store.journal.append(old, 0, [entry()], durable=True)
        with cluster.connected(url) as connection:
            lease = "UPDATE node SET lease_until = clock_timestamp() + %s * interval '1 s' WHERE id = 'a'"
            connection.execute(lease, (60,))
            with pytest.raises(Fenced, match="is back"):
                await b.journal.move(
                    Move("trip", "a", old.owner_epoch, 1, "b", is_away=True), [], (), SUMMARY
                )
            connection.execute(lease, (0,))
        with pytest.raises(SequenceConflict):
            await b.journal.move(
                Move("trip", "a", old.owner_epoch, 0, "b", is_away=True), [entry()], (), SUMMARY
            )
        kept = await b.store.catalog.get("trip")
        assert kept is not None
        assert (kept.owner, kept.owner_epoch, kept.head_seq) == ("a", old.owner_epoch, 1), "nothing was done"
        await a.store.journal.append(old, 1, [entry()], durable=True)
        await b.journal.move(Move("trip", "a", old.owner_epoch, 2, "b", is_away=True), [entry()], (), SUMMARY)
        with pytest.raises(Fenced):
            await a.store.journal.append(old, 3, [entry()], durable=True)
        await b.store.catalog.remove("trip")
        with pytest.raises(SessionMissing):
            await b.store.ownership.acquire("trip")
