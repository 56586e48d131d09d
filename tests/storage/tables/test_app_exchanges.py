"""What the shipped app leaves behind: pairs of ids, their keys, and answers not seen to their end."""

from __future__ import annotations

from pathlib import Path

from storage.tables.app_exchanges import OPEN_PER_PAIR, OpenExchange
from tests.storage.stores import opened

WEEK_MS = 7 * 86_400_000


async def test_a_pair_belongs_to_its_last_key_for_a_while(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        pairs, devices = store.app_pairs, store.devices
        first = await devices.add(name="a", scope="drive", key="k1", device_id="d1", now_ms=1)
        second = await devices.add(name="b", scope="drive", key="k2", device_id="d2", now_ms=1)

        async def owner(since_ms: int) -> object:
            found = await pairs.owner("phone", "s", since_ms=since_ms)
            return None if found is None else devices.find_hash(found)

        assert await owner(0) is None
        await pairs.use("phone", "s", "k1", now_ms=1000, keep_ms=WEEK_MS)
        assert await owner(1000) == first
        assert await owner(1001) is None
        await pairs.use("phone", "s", "k2", now_ms=2000, keep_ms=WEEK_MS)
        assert await owner(2000) == second
        await devices.revoke("d2", now_ms=3000)
        assert await owner(2000) is None
        await pairs.use("other", "s", "k1", now_ms=2001 + WEEK_MS, keep_ms=WEEK_MS)
        assert await pairs.owner("phone", "s", since_ms=0) is None


async def test_the_sessions_of_a_key_are_known_by_their_use(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        pairs = store.app_pairs
        for at_ms, session_id in enumerate(("old", "s", "t", "s"), start=1):
            await pairs.use("phone", session_id, "k1", now_ms=at_ms, keep_ms=WEEK_MS)
        await pairs.use("phone", "foreign", "k2", now_ms=9, keep_ms=WEEK_MS)
        assert await pairs.newest("k1", since_ms=2) == ["s", "t"]


async def test_a_key_that_was_replaced_owns_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        await store.devices.set_first_key("old", now_ms=1)
        await store.app_pairs.use("phone", "s", "old", now_ms=1, keep_ms=WEEK_MS)
        found = await store.app_pairs.owner("phone", "s", since_ms=0)
        assert found is not None
        assert store.devices.find_hash(found) is not None
        await store.devices.set_first_key("new", now_ms=2)
        assert store.devices.find_hash(found) is None


async def test_open_answers_are_kept_in_order_and_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path / "x.db") as store:
        pairs = store.app_pairs
        for number in range(OPEN_PER_PAIR + 5):
            await pairs.open("phone", "s", f"m{number}", now_ms=number, keep_ms=WEEK_MS)
        await pairs.open("phone", "t", "elsewhere", now_ms=1, keep_ms=WEEK_MS)
        await pairs.settle([OpenExchange("m10", 7)], ["m5", "m6"])
        await pairs.settle([OpenExchange("m10", 3), OpenExchange("gone", 3)], ["gone"])
        kept = await pairs.open_exchanges("phone", "s")
        assert kept[0] == OpenExchange("m7", 0)
        assert kept[3] == OpenExchange("m10", 7)
        assert len(kept) == OPEN_PER_PAIR - 2
        await pairs.open("phone", "t", "later", now_ms=WEEK_MS + 100, keep_ms=WEEK_MS)
        assert await pairs.open_exchanges("phone", "s") == []
        assert await pairs.open_exchanges("phone", "t") == [OpenExchange("later", 0)]
