"""Keys, the first key, revoking, and whose label is whose."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
import trio

from storage.errors import DeviceExists, DeviceRevoked
from storage.tables import devices as devices_module
from storage.tables import revocations
from storage.tables.devices import DeviceRow
from storage.tables.hash_chain import Act
from tests.storage.faults import faulty_disk
from tests.storage.stores import opened, until


async def test_a_key_is_found_until_it_is_revoked(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        devices = store.devices
        added = await devices.add(name="iPad", scope="drive", key="k-ipad", device_id="d1", now_ms=5)
        await devices.add(name="Mac", scope="view", key="k-mac", device_id="d2", now_ms=6)
        assert added == DeviceRow("d1", "iPad", "drive", 5, None)
        assert devices.find("k-ipad") == added
        for wrong in ("", "k-ipa", "K-IPAD", "k-ipad ", "\ud800"):
            assert devices.find(wrong) is None
        assert await devices.revoke("d1", now_ms=9) is True
        assert await devices.revoke("d1", now_ms=10) is False
        assert await devices.revoke("nobody", now_ms=10) is False
        assert devices.find("k-ipad") is None
        with pytest.raises(DeviceExists):
            await devices.add(name="again", scope="admin", key="k", device_id="d2", now_ms=11)
    async with opened(path) as store:
        assert store.devices.find("k-ipad") is None
        assert store.devices.find("k-mac") == DeviceRow("d2", "Mac", "view", 6, None)
        assert [(d.id, d.revoked_at_ms) for d in store.devices.list()] == [("d1", 9), ("d2", None)]


async def test_no_key_lies_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("secret-first", now_ms=1)
        await store.devices.add(name="n", scope="view", key="secret-second", device_id="d", now_ms=1)
        assert b"secret" not in path.with_name("x.db-wal").read_bytes()
    assert b"secret" not in path.read_bytes()


async def test_a_new_first_key_ends_the_older_one(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        devices = store.devices
        first = await devices.set_first_key("one", now_ms=1)
        assert first == DeviceRow("first", "first device", "admin", 1, None)
        assert await devices.set_first_key("two", now_ms=2) == first
        assert devices.find("one") is None
        assert devices.find("two") == first
        await devices.revoke("first", now_ms=3)
        assert devices.find("two") is None
        await devices.set_first_key("two", now_ms=4)
        assert devices.find("two") == first


async def test_a_label_is_its_first_users_for_good(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        devices = store.devices
        for name in ("d1", "d2"):
            await devices.add(name=name, scope="drive", key=name, device_id=name, now_ms=1)
        assert await devices.claim_label("kitchen", "d1") is True
        assert await devices.claim_label("kitchen", "d2") is False
        assert await devices.claim_label("d1", "d1") is True
        assert await devices.claim_label("d1", "d2") is False
        with pytest.raises(DeviceExists):
            await devices.add(name="n", scope="view", key="k", device_id="kitchen", now_ms=1)
        assert devices.find("k") is None
        await devices.revoke("d1", now_ms=2)
    async with opened(path) as store:
        assert await store.devices.claim_label("kitchen", "d2") is False
        assert await store.devices.claim_label("kitchen", "d1") is True


async def test_labels_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices_module, "LABELS_PER_DEVICE", 4)
    monkeypatch.setattr(devices_module, "CACHED_LABELS", 2)
    async with opened(tmp_path / "x.db") as store:
        devices = store.devices
        await devices.add(name="n", scope="drive", key="k", device_id="d1", now_ms=1)
        claimed = [await devices.claim_label(f"l{n}", "d1") for n in range(5)]
        assert claimed == [True, True, True, False, False]  # its own id is one of the four
        assert await devices.claim_label("l0", "d1") is True
        assert await devices.claim_label("l4", "d2") is True


async def test_a_full_disk_keeps_no_key_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocations, "RETRY_S", 0.01)
    path = tmp_path / "x.db"
    act = Act(at_ms=2, act="revoked", subject="d1")
    with faulty_disk() as disk:
        async with opened(path, vfs=disk.name) as store:
            devices = store.devices
            await devices.add(name="Lost", scope="admin", key="k", device_id="d1", now_ms=1)
            disk.fail_write = apsw.FullError
            assert devices.shut("d1", now_ms=2, noted=[act])
            assert devices.find("k") is None, "before anything was written"
            assert await devices.revocations.stored("d1") is False
            assert not await devices.revoke("d1", now_ms=3), "it has ended already"
            disk.fail_write = None
            # What the ended key asked for is not done once there is room again.
            with pytest.raises(DeviceRevoked):
                await devices.add(name="x", scope="admin", key="k2", device_id="d2", now_ms=4, made_by="d1")
            await until(lambda: not devices.revocations.owes)
    async with opened(path) as store:
        assert store.devices.find("k") is None
        assert [row.act for row in await store.audit.page(0)] == [act]


async def test_a_revocation_is_stored_though_nobody_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.add(name="Lost", scope="admin", key="k", device_id="d1", now_ms=1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.devices.revoke("d1", now_ms=2)
        assert await store.devices.revocations.stored("d1")
    async with opened(path) as store:
        assert store.devices.find("k") is None


@pytest.mark.parametrize("name", ["time-limit", "desk", "Desk", "TIME-LIMIT", "system"])
async def test_names_of_the_system_are_nobodys_labels(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=1)
        assert not await store.devices.claim_label(name, "first")
        assert await store.devices.claim_label(f"{name}-2", "first")
