"""Codes that make a device: once, for a while, and never twice."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
import trio

from storage.store import Store
from storage.tables.devices import DeviceRow
from storage.tables.pairings import MAX_PAIRINGS, PAIRING_MS, Pairing
from tests.storage.stores import opened, until


def pairing(until: int = 100, *, name: str | None = "iPad", made_by: str = "first") -> Pairing:
    return Pairing(b"", name, "drive", made_by, until)


def path_has_codes(path: Path) -> bool:
    connection = apsw.Connection(str(path))
    count: int = connection.execute("SELECT count(*) FROM pairing").get
    connection.close()
    return count > 0


def device(device_id: str, at: int = 5) -> DeviceRow:
    return DeviceRow(device_id, "iPad", "drive", at, None)


async def open_code(store: Store, code: str, *, until: int = 100, made_by: str = "first") -> Pairing:
    """Make a code; return it as `find` gives it."""
    assert await store.pairings.open(code, pairing(until, made_by=made_by), now_ms=1)
    found = store.pairings.find(code, now_ms=1)
    assert found is not None
    return found


async def test_a_code_is_good_once_until_it_ends_and_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=1)
        made = await open_code(store, "code-1")
        assert (made.name, made.scope, made.made_by, made.expires_at_ms) == ("iPad", "drive", "first", 100)
        for wrong in ("", "code-", "CODE-1", "code-1 ", "\ud800"):
            assert store.pairings.find(wrong, now_ms=2) is None
        assert store.pairings.find("code-1", now_ms=99) == made
        assert store.pairings.find("code-1", now_ms=100) is None
    async with opened(path) as store:
        assert store.pairings.find("code-1", now_ms=5) == made
        assert await store.pairings.redeem(made, device("d1"), "key-1") is True
        assert store.devices.find("key-1") == device("d1")
        assert store.pairings.find("code-1", now_ms=5) is None
        assert await store.pairings.redeem(made, device("d2"), "key-2") is False
        assert store.devices.find("key-2") is None
    async with opened(path) as store:
        assert store.pairings.find("code-1", now_ms=5) is None
        assert store.devices.find("key-1") == device("d1")


async def test_of_two_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=1)
        made = await open_code(store, "code")
        won: list[int] = []

        async def use(number: int) -> None:
            if await store.pairings.redeem(made, device(f"d{number}"), f"key-{number}"):
                won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(use, number)
        assert len(won) == 1
        assert [one.id for one in store.devices.list()] == ["first", f"d{won[0]}"]


async def test_an_ended_code_makes_nothing_even_if_found_before(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=1)
        made = await open_code(store, "code", until=100)
        assert await store.pairings.redeem(made, device("d1", at=100), "key") is False
        assert store.devices.find("key") is None


async def test_codes_are_few_and_ended_ones_make_room(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=1)
        for number in range(MAX_PAIRINGS):
            await open_code(store, f"code-{number}", until=100 + number)
        assert await store.pairings.open("more", pairing(900), now_ms=99) is False
        assert store.pairings.find("more", now_ms=99) is None
        assert await store.pairings.open("more", pairing(900), now_ms=100) is True
        assert store.pairings.find("more", now_ms=100) is not None


async def test_codes_end_with_the_key_that_made_them(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=1)
        await store.devices.add(name="Mac", scope="admin", key="m", device_id="mac", now_ms=1)
        mac, first = await open_code(store, "of-mac", made_by="mac"), await open_code(store, "of-first")
        await store.devices.revoke("mac", now_ms=2)
        assert store.pairings.find("of-mac", now_ms=2) is None
        assert await store.pairings.redeem(mac, device("d1"), "key") is False
        assert store.pairings.find("of-first", now_ms=2) == first
        await store.devices.set_first_key("another", now_ms=3)
        assert await store.pairings.redeem(first, device("d2"), "key") is False


async def test_no_code_lies_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=1)
        await open_code(store, "secret-code")
        assert b"secret-code" not in path.with_name("x.db-wal").read_bytes()
    assert b"secret-code" not in path.read_bytes()


async def test_an_ended_code_stays_so_if_the_clock_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=1)
        made = await open_code(store, "code", until=100)
        assert store.pairings.find("code", now_ms=100) is None
        assert store.pairings.find("code", now_ms=50) is None
        assert await store.pairings.redeem(made, device("d1", at=50), "key") is False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.pairings.run, lambda: 50)
            await until(lambda: not path_has_codes(path))
            nursery.cancel_scope.cancel()
    async with opened(path) as store:
        assert store.pairings.find("code", now_ms=50) is None


async def test_an_ended_code_goes_off_the_disk_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=1)
        await open_code(store, "code", until=100)
    async with opened(path) as store, trio.open_nursery() as nursery:
        nursery.start_soon(store.pairings.run, lambda: 200)
        await until(lambda: not path_has_codes(path))
        nursery.cancel_scope.cancel()


async def test_no_clock_makes_a_code_live_longer_than_ten_minutes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    async with opened(path) as store:
        await store.devices.set_first_key("k", now_ms=PAIRING_MS * 5)
        made_ms = PAIRING_MS * 5
        assert await store.pairings.open("code", pairing(made_ms + PAIRING_MS), now_ms=made_ms)
    async with opened(path) as store:
        assert store.pairings.find("code", now_ms=made_ms - 1) is None, "the clock is before its making"


async def test_a_clock_that_is_set_back_ends_no_code(tmp_path: Path) -> None:
    made_ms = PAIRING_MS * 5
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=made_ms)
        assert await store.pairings.open("code", pairing(made_ms + PAIRING_MS), now_ms=made_ms)
        assert store.pairings.find("code", now_ms=made_ms - 1) is not None
        assert store.pairings.find("code", now_ms=made_ms + 1) is not None
        assert store.pairings.find("code", now_ms=made_ms + PAIRING_MS) is None
        assert store.pairings.find("code", now_ms=made_ms - 1) is None, "it has ended"


async def test_a_code_ends_by_the_clock_that_only_goes_forward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("k", now_ms=1)
        await open_code(store, "code", until=PAIRING_MS)
        later = trio.current_time() + PAIRING_MS / 1000
        monkeypatch.setattr(trio, "current_time", lambda: later)
        assert store.pairings.find("code", now_ms=1) is None
