"""Nodes hear of each other through the database: mail in its order, who is there, and which keys are valid."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from storage.errors import DatabaseInUse
from storage.node_records import Mail
from storage.postgres.nodes.opening import LEASE_S
from storage.postgres.nodes.store import NodeStore
from tests.postgres.cluster import Cluster
from tests.postgres.nodes.test_opening import opened_as

LIMIT_S = 20.0


@attrs.define(eq=False)
class Heard:
    """What an office said."""

    mail: list[bytes] = attrs.field(factory=list)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def take(self, mail: Sequence[Mail]) -> None:
        assert all(0 <= one.age_s < LIMIT_S for one in mail)
        self.mail += [one.body for one in mail]
        self.wake()

    def wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


@asynccontextmanager
async def running(node: NodeStore) -> AsyncIterator[Heard]:
    """Run a node's office while inside the block."""
    heard, office = Heard(), node.office
    office.on_mail, office.on_nodes = heard.take, heard.wake
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(office.run)
            yield heard
            nursery.cancel_scope.cancel()


def sees(node: NodeStore, name: str) -> bool:
    known = node.office.nodes.get(name)
    return known is not None and known.is_alive


async def test_mail_arrives_in_its_order(url: str, tmp_path: Path) -> None:
    async with (
        opened_as(url, tmp_path, "a") as a,
        opened_as(url, tmp_path, "b") as b,
        running(a),
        running(b) as heard,
    ):
        bodies = [str(number).encode() for number in range(1000)]
        for body in bodies[:-1]:
            a.office.post("b", body)
        await a.office.post("b", bodies[-1]).wait()
        while len(heard.mail) < 1000:
            await heard.changed.wait()
        assert heard.mail == bodies
        a.office.post("b", b"late", within_s=-1)
        a.office.post("b", b"after")
        while heard.mail[-1] != b"after":
            await heard.changed.wait()
        assert heard.mail[1000:] == [b"after"], "what nobody waits for any more is not posted"


async def test_a_node_is_away_once_it_left_or_its_lease_is_over(
    url: str, cluster: Cluster, tmp_path: Path
) -> None:
    async with opened_as(url, tmp_path, "a") as a, running(a) as heard:
        async with opened_as(url, tmp_path, "b") as b:
            async with running(b):
                while not sees(a, "b"):
                    await heard.changed.wait()
                assert a.office.is_first
                assert not b.office.is_first
            while sees(a, "b"):
                await heard.changed.wait()
        began = trio.current_time()
        async with opened_as(url, tmp_path, "c"):  # its lease begins, and it never beats
            while not sees(a, "c"):
                await heard.changed.wait()
            while sees(a, "c"):
                await heard.changed.wait()
        assert trio.current_time() - began < LEASE_S + 3
        assert a.office.silent_s < 2


async def test_a_key_that_ends_at_one_node_ends_at_the_other(url: str, tmp_path: Path) -> None:
    async with opened_as(url, tmp_path, "a") as a, opened_as(url, tmp_path, "b") as b:
        ended: list[str] = []
        heard = trio.Event()

        async def refresh() -> None:
            nonlocal heard
            ended.extend(await b.store.devices.refresh())
            await b.store.pairings.refresh()
            heard.set()
            heard = trio.Event()

        b.office.on_keys = refresh
        async with running(b):
            devices = a.store.devices
            await devices.add(name="phone", scope="drive", key="p" * 32, device_id="phone", now_ms=1)
            while b.store.devices.find("p" * 32) is None:
                await heard.wait()
            assert ended == []
            began = trio.current_time()
            await devices.revoke("phone", now_ms=2)
            while b.store.devices.find("p" * 32) is not None:
                await heard.wait()
            assert trio.current_time() - began < 1.0
            assert ended == ["phone"]
            assert b.store.devices.was_revoked("phone")
            assert not b.store.devices.was_revoked("nobody")


async def test_a_node_whose_name_was_taken_ends(url: str, cluster: Cluster, tmp_path: Path) -> None:
    with pytest.RaisesGroup(DatabaseInUse, flatten_subgroups=True):
        async with opened_as(url, tmp_path, "a") as a, running(a):
            with cluster.connected(url) as connection:
                connection.execute("UPDATE node SET incarnation = 9 WHERE id = 'a'")
            await trio.sleep_forever()


async def test_the_post_comes_back_with_the_database(own_cluster: Cluster, tmp_path: Path) -> None:
    url = own_cluster.new_database()
    async with (
        opened_as(url, tmp_path, "a") as a,
        opened_as(url, tmp_path, "b") as b,
        running(a),
        running(b) as heard,
    ):
        await trio.to_thread.run_sync(own_cluster.stop, signal.SIGQUIT)
        while await b.office.is_fresh(0.2, 0.0):
            await trio.lowlevel.checkpoint()
        posted = a.office.post("b", b"waits")
        await trio.to_thread.run_sync(own_cluster.start)
        await posted.wait()
        while heard.mail != [b"waits"]:
            await heard.changed.wait()
        assert await b.office.is_fresh(1.0, 5.0)
