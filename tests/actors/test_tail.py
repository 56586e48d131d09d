"""The tail: what follows a place, joined, shared; bounded; and the newest news of each kind."""

from __future__ import annotations

import trio
from trio.testing import MockClock

import actors.tail
from actors.events.committed import Committed, Event
from actors.events.conversation import Complete, Message, Notice
from actors.tail import AttachedDevice, DraftChanged, Presence, QuietTails, SessionProblem, Tail
from tests.actors.harness import CapturingSink


def piece(seq: int, text: str) -> Committed:
    return Committed(seq, seq, 0, "t", None, Message(text, "b", 0))


def tail_of(*texts: str) -> Tail:
    tail = Tail("trip", 1, 0)
    for seq, text in enumerate(texts, 1):
        tail.publish_nowait([piece(seq, text)], [len(text)])
    return tail


def test_a_round_is_joined_and_shared() -> None:
    tail = tail_of("a", "b", "c")
    first = tail.read_nowait(0)
    assert first is tail.read_nowait(0)
    assert first is not None
    assert [(item.first_seq, item.seq) for item in first.items] == [(1, 3)]
    later = tail.read_nowait(1)
    assert later is not None
    assert [(item.first_seq, item.seq) for item in later.items] == [(2, 3)]
    tail.publish_nowait([piece(4, "d")], [1])
    assert tail.read_nowait(0) is not first


def test_at_the_head_nothing_and_far_back_the_journal() -> None:
    tail = tail_of("a", "b")
    for place in (2, 3):
        found = tail.read_nowait(place)
        assert found is not None
        assert found.items == ()
    tail.publish_nowait([piece(3, "x" * 9000)], [9000])
    assert tail.read_nowait(0) is not None  # those who are behind for a moment need no journal
    tail.rest()
    assert tail.read_nowait(0) is None
    assert tail.read_nowait(2) is None, "even the newest may be too large for an idle session"


async def test_a_tail_rests_some_time_after_its_last_event(autojump_clock: MockClock) -> None:
    rested: list[float] = []

    async def all_rest() -> None:
        await trio.lowlevel.checkpoint()
        rested.append(trio.current_time())

    quiet = QuietTails(2.0, all_rest)
    busy, still = tail_of("x" * 9000), tail_of("x" * 9000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quiet.run)
        await trio.sleep(100)  # with nothing to do it does not wake
        quiet.published(still)
        quiet.published(busy)
        await trio.sleep(2.1)
        quiet.published(busy)
        await trio.sleep(2)
        assert busy.read_nowait(0) is not None
        assert still.read_nowait(0) is None, "4.1 s after its last event"
        assert rested == [], "not all rest"
        await trio.sleep(2)
        assert busy.read_nowait(0) is None
        await trio.sleep(100)
        assert len(rested) == 1
        assert (quiet._fresh, quiet._older) == ({}, {}), "nothing is kept of tails at rest"
        nursery.cancel_scope.cancel(reason="test done")


def test_memory_is_bounded() -> None:
    tail = Tail("trip", 1, 0)
    for seq in range(1, 101):
        tail.publish_nowait([piece(seq, "x" * 10_000)], [10_000])
    assert sum(tail._sizes) == tail._bytes <= actors.tail.TAIL_BYTES
    assert tail.read_nowait(99) is not None
    assert tail.read_nowait(10) is None


def test_a_place_inside_a_joined_row_is_covered() -> None:
    tail = Tail("trip", 1, 0)
    tail.publish_nowait([Committed(5, 1, 0, "t", None, Message("abcde", "b", 0))], [5])
    found = tail.read_nowait(3)
    assert found is not None
    assert found.items[0].first_seq <= 4 <= found.items[0].seq


def test_what_is_urgent_is_known() -> None:
    tail = tail_of("a")
    events: list[Event] = [Complete(1, 1, ""), Notice("n", "x")]
    tail.publish_nowait([Committed(n, n, 0, "t", None, e) for n, e in enumerate(events, 2)], [1, 1])
    assert (tail.urgent_seq, tail.head_seq) == (2, 3)


def test_a_reset_sends_readers_to_the_journal() -> None:
    tail = tail_of("a", "b")
    tail.reset(2, 9)
    assert tail.read_nowait(2) is None
    assert (tail.epoch, tail.head_seq) == (2, 9)


def test_only_the_newest_news_of_a_kind_are_kept() -> None:
    tail = Tail("trip", 1, 0)
    for news in (DraftChanged("a", "mac"), SessionProblem("storage", "full"), DraftChanged("ab", "mac")):
        tail.post_nowait(news)
    assert tail.news_since(0) == [SessionProblem("storage", "full"), DraftChanged("ab", "mac")]
    assert tail.news_since(2) == [DraftChanged("ab", "mac")]
    assert tail.news_since(3) == []


def test_presence_and_wakes() -> None:
    tail = Tail("trip", 1, 0)
    phone, script = CapturingSink(AttachedDevice("phone", "Phone", observe=False)), CapturingSink()
    with tail.listen(phone), tail.listen(script):
        assert tail.devices == (AttachedDevice("phone", "Phone", observe=False),)
        before = script.wakes
        tail.publish_nowait([piece(1, "a")], [1])
        assert script.wakes == before + 1
    assert not tail.is_watched
    assert tail.news_since(0) == [Presence(())]
