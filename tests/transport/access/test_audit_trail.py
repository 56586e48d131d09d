"""What comes again and again is counted: neither a stranger nor an eager device fills the disk."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.lowlevel

from storage.errors import StorageFull
from storage.tables.hash_chain import Act
from transport.access import audit_trail
from transport.access.audit_trail import AuditTrail, Counting

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def wrong(at_ms: int, address: str = "203.0.113.7") -> Act:
    return Act(at_ms=at_ms, act="sign_in_failed", address=address, subject="key")


def good(at_ms: int, address: str = "203.0.113.7", device: str = "d") -> Act:
    return Act(at_ms=at_ms, act="signed_in", device_id=device, address=address)


def told(acts: Sequence[Act]) -> list[tuple[int, str | None, int]]:
    return [(act.at_ms, act.address, act.count) for act in acts]


def test_wrong_keys_of_an_address_are_two_rows_a_minute() -> None:
    counting = Counting()
    first = [act for at in range(1000) for act in counting.failed(wrong(at))]
    assert told(first) == [(0, "203.0.113.7", 1)]
    assert counting.flush(MINUTE - 1) == []
    assert told(counting.flush(MINUTE)) == [(MINUTE, "203.0.113.7", 999)]
    assert counting.flush(DAY) == []
    assert told(counting.failed(wrong(MINUTE + 5))) == [(MINUTE + 5, "203.0.113.7", 1)]


def test_a_minute_that_is_over_is_told_before_the_next() -> None:
    counting = Counting()
    for at in (0, 1, 2):
        counting.failed(wrong(at))
    made = counting.failed(wrong(MINUTE + 7))
    assert told(made) == [(MINUTE + 7, "203.0.113.7", 2), (MINUTE + 7, "203.0.113.7", 1)]


def test_wrong_keys_of_many_addresses_make_few_rows() -> None:
    counting = Counting()
    rows = [
        act
        for number in range(3000)
        for act in counting.failed(wrong(number, f"10.0.{number // 256}.{number % 256}"))
    ]
    assert len(rows) == audit_trail.MAX_FAILING + 1
    assert rows[-1].address is None
    rows += counting.flush(MINUTE + 3000)
    assert sum(act.count for act in rows) == 3000


def test_one_ipv6_subscriber_is_one_address() -> None:
    counting = Counting()
    rows = [act for number in range(50) for act in counting.failed(wrong(number, f"2001:db8::{number:x}"))]
    assert len(rows) == 1


def test_a_flood_of_days_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_trail, "MAX_FAILED_ROWS", 100)
    counting = Counting()
    rows: list[Act] = []
    tries = 0
    for minute in range(24 * 60 - 1):
        for number in range(30):
            tries += 1
            rows += counting.failed(wrong(minute * MINUTE + number, f"10.0.{minute % 256}.{number}"))
    assert len(rows) <= 100 + 22 + 2 * 24
    rows += counting.flush(0, everything=True)
    assert sum(act.count for act in rows) == tries
    fresh = counting.failed(wrong(DAY + HOUR))
    assert fresh[-1].address == "203.0.113.7", "the next day has rows of its own"


def test_a_device_that_asks_all_the_time_is_a_row_an_hour() -> None:
    counting = Counting()
    rows = [act for at in range(0, 3 * HOUR, 10_000) for act in counting.signed_in(good(at))]
    firsts = [act for act in rows if act.count == 1]
    assert [act.at_ms for act in firsts] == [0, HOUR, 2 * HOUR]
    rows += counting.flush(0, everything=True)
    assert sum(act.count for act in rows) == 3 * 360


def test_a_device_that_comes_from_elsewhere_is_told_at_once() -> None:
    counting = Counting()
    rows = [*counting.signed_in(good(0, "a")), *counting.signed_in(good(1, "a"))]
    rows += [*counting.signed_in(good(2, "b")), *counting.signed_in(good(3, "a", "other"))]
    assert told(rows) == [(0, "a", 1), (2, "a", 1), (2, "b", 1), (3, "a", 1)]


def test_one_that_comes_from_everywhere_is_bounded() -> None:
    counting = Counting()
    rows = [act for at in range(5000) for act in counting.signed_in(good(at, f"a{at}"))]
    assert len(rows) == audit_trail.MAX_SIGNED_IN
    rows += counting.flush(HOUR * 2)
    assert sum(act.count for act in rows) == 5000


class Log:
    """Keeps what it is given, when it works."""

    def __init__(self) -> None:
        self.rows: list[Act] = []
        self.batches: list[int] = []
        self.works = True
        self.asked = trio.Event()

    async def has(self, count: int) -> None:
        """Wait until so many rows are there."""
        await trio.lowlevel.checkpoint()
        while len(self.rows) < count:
            self.asked = trio.Event()
            await self.asked.wait()

    async def append(self, acts: Sequence[Act]) -> None:
        await trio.lowlevel.checkpoint()
        if self.works:
            self.rows += acts
            self.batches.append(len(acts))
        self.asked.set()
        if not self.works:
            raise StorageFull("the disk is full")


async def test_acts_are_stored_in_order_and_counts_at_the_end() -> None:
    log = Log()
    trail = AuditTrail(log, lambda: 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trail.run)
        for _ in range(3):
            trail.signed_in("d", "a")
        trail.failed("b", "code")
        trail.note(Act(at_ms=5, act="x"))
        with trio.fail_after(20):
            await log.has(3)
        nursery.cancel_scope.cancel()
    assert [(act.act, act.count) for act in log.rows] == [
        ("signed_in", 1),
        ("sign_in_failed", 1),
        ("x", 1),
        ("signed_in", 2),
    ]
    assert log.rows[1].subject == "code"


async def test_a_disk_that_does_not_write(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_trail, "MAX_WAITING", 100)
    log = Log()
    log.works = False
    trail = AuditTrail(log, lambda: 5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trail.run)
        for number in range(150):
            trail.note(Act(at_ms=number, act="x"))
        await log.asked.wait()
        assert log.rows == []
        log.works = True
        await trio.sleep(2 * audit_trail.RETRY_S)
        nursery.cancel_scope.cancel()
    assert [act.at_ms for act in log.rows if act.act == "x"] == list(range(100))
    assert [act.count for act in log.rows if act.act == "rows_lost"] == [50]
    assert max(log.batches) <= audit_trail.BATCH_ROWS + 1
