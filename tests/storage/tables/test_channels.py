"""The channels: who has how many, which take each other's place, and whose are not notified any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from storage.schema import MIGRATIONS, migrate
from storage.sqlite.connection import open_writer
from storage.store import Store
from storage.tables.notifications.channels import CHANNELS_PER_OWNER, MAX_CHANNELS, NewChannel
from tests.storage.stores import opened


def made(number: int, owner: str = "one", **more: Any) -> NewChannel:
    fields = {
        "channel_id": f"c{number:03}",
        "kind": "apns",
        "label": f"d{number}",
        "address": f"t{number:03}",
    }
    return NewChannel(**{**fields, "owner": owner, **more})


async def add_devices(store: Store, *names: str, made_by: str | None = None) -> None:
    for name in names:
        await store.devices.add(name=name, scope="view", key=name, device_id=name, now_ms=1, made_by=made_by)


async def test_the_newest_of_each_key_are_kept_while_it_is_valid(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        channels = store.notifications.channels
        await add_devices(store, "one", "two")
        for number in range(CHANNELS_PER_OWNER + 3):
            await channels.register(made(number), number)
        assert await channels.register(made(900, "two", address="theirs"), 1) == "c900"
        assert await channels.register(made(901, "two", address="theirs", label="d2"), 2) == "c900", (
            "a refresh"
        )
    async with opened(tmp_path / "x.db") as store:
        channels = store.notifications.channels
        found = await channels.listing()
        mine = [one.address for one in found if one.owner == "one"]
        assert mine == [f"t{number:03}" for number in range(3, CHANNELS_PER_OWNER + 3)]
        assert [one.label for one in found if one.owner == "two"] == ["d2"]
        await store.devices.revoke("one", now_ms=9)
        assert {one.owner for one in await channels.listing()} == {"two"}


async def test_one_label_of_a_key_has_one_channel_of_a_kind(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        channels = store.notifications.channels
        await add_devices(store, "one", "two")
        await channels.register(made(1, label="mac"), 1)
        await channels.register(made(2, label="mac", wants={"finished": False}), 2)
        await channels.register(made(3, label="mac", kind="web"), 3)
        await channels.register(made(4, "two", label="mac"), 4)
        assert [one.channel_id for one in await channels.listing()] == ["c002", "c003", "c004"]
        await channels.mark("c002", "failing", "no")
        await channels.register(made(9, label="mac", address="t002"), 5)
        kept = (await channels.listing())[0]
        assert (kept.state, kept.problem, kept.wants) == ("live", None, {"finished": False})


async def test_there_is_an_end_for_all_keys_together(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        owners = [f"o{number}" for number in range(MAX_CHANNELS // CHANNELS_PER_OWNER + 1)]
        await add_devices(store, *owners)
        for number in range(MAX_CHANNELS):
            owner = owners[number // CHANNELS_PER_OWNER]
            assert await store.notifications.channels.register(made(number, owner), number) is not None
        assert await store.notifications.channels.register(made(999, owners[-1]), 999) is None


async def test_channels_of_the_config_come_and_go_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        channels = store.notifications.channels
        await channels.configure([made(1, "", kind="ntfy"), made(2, "", kind="command")], 1)
        await channels.configure([made(2, "", kind="command")], 2)
        assert [one.channel_id for one in await channels.listing()] == ["c002"]
        await channels.sleep()
        assert (await channels.listing())[0].state == "live", "only devices have to show themselves"


async def test_a_paired_device_is_of_the_same_person(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await add_devices(store, "one")
        await store.notifications.channels._execute("UPDATE device SET person = 'ann' WHERE id = ?", ("one",))
        await add_devices(store, "two", made_by="one")
        await add_devices(store, "three")
        of = store.notifications.channels.person_of
        assert [await of(name) for name in ("one", "two", "three", "nobody")] == ["ann", "ann", "owner", None]


def test_tokens_of_an_earlier_version_become_channels(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection: apsw.Connection = open_writer(path)
    migrate(connection, path, MIGRATIONS[:6])
    connection.execute("INSERT INTO notification VALUES ('t1', 'ios', 'ipad', 'first', 7)")
    migrate(connection, path)
    found = connection.execute(
        "SELECT kind, owner, label, address, state, seen_at_ms FROM channel"
    ).fetchall()
    connection.close()
    assert found == [("apns", "first", "ipad", "t1", "live", 7)]
