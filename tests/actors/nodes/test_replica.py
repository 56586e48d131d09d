"""A session of another node: filled up to what its home said, and never beyond; it says what is wrong once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from actors.events.codec import encode_entry
from actors.events.committed import Committed
from actors.events.conversation import Notice
from actors.nodes.home import FOLLOW_S, SessionsAtHome
from actors.nodes.mail import FollowingMail, FollowMail, NodeMail, TailMail
from actors.nodes.replica import SURE_S, Replica, ReplicaTail
from actors.tail import AttachedDevice, DraftChanged, Presence, SessionProblem
from storage.records import Fold
from tests.actors.nodes.rig import Line, OneSession
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import new_session

PHONE, MAC = AttachedDevice("phone", "Phone", observe=False), AttachedDevice("mac", "Mac", observe=False)


@attrs.define(eq=False)
class Ear:
    """A listener."""

    device: AttachedDevice | None = PHONE
    woken: int = 0

    def wake(self) -> None:
        self.woken += 1


@attrs.define(eq=False)
class World:
    store: MemoryStore
    replica: Replica

    @property
    def at(self) -> tuple[int, int]:
        return self.replica.tail.epoch, self.replica.tail.head_seq

    def vouches(self) -> bool:
        return self.replica.tail.is_current

    async def write(self, count: int) -> None:
        grant = await self.store.acquire("trip")
        head = (await self.store.head("trip")).seq
        made = [
            Committed(head + n + 1, head + n + 1, 1, None, None, Notice("x", str(n))) for n in range(count)
        ]
        await self.store.append(grant, head, [encode_entry(one) for one in made], durable=True)


@asynccontextmanager
async def opened(moved: Callable[[], None] = lambda: None) -> AsyncIterator[World]:
    store = MemoryStore()
    await store.create(new_session("trip"))
    tail = ReplicaTail("trip", 0, 0, moved=moved)
    replica = Replica("trip", "a", store, tail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(replica.run)
        yield World(store, replica)
        nursery.cancel_scope.cancel()


async def test_it_is_filled_up_to_what_the_home_said() -> None:
    async with opened() as world:
        world.replica.begin(1, 0)
        await world.write(5)
        world.replica.take(TailMail("a", "trip", 1, 3))
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 3), "an answer that is on its way comes before its events"
        taken = world.replica.tail.read_nowait(0)
        assert taken is not None
        assert [one.seq for one in taken.items] == [1, 2, 3]
        world.replica.take(TailMail("a", "trip", 1, 2))
        world.replica.take(TailMail("a", "trip", 1, 5))
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 5)


async def test_it_begins_where_the_answer_to_an_attach_is() -> None:
    async with opened() as world:
        await world.write(9)
        world.replica.begin(1, 7)
        assert world.at == (1, 7)
        world.replica.begin(1, 4)
        assert world.at == (1, 7)
        assert world.replica.tail.read_nowait(6) is None, "the reader goes to the journal"


async def test_events_folded_below_it_are_left_to_the_journal() -> None:
    async with opened() as world:
        world.replica.begin(1, 0)
        await world.write(6)
        grant = await world.store.acquire("trip")
        whole = encode_entry(Committed(6, 1, 1, None, None, Notice("x", "all")))
        await world.store.append(grant, 6, [], fold=[Fold(1, 6, whole)], durable=True)
        world.replica.take(TailMail("a", "trip", 1, 3))
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 3)
        world.replica.take(TailMail("a", "trip", 1, 6))
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 6)


async def test_what_a_lost_mail_said_is_found_a_look_later() -> None:
    async with opened() as world:
        world.replica.begin(1, 0)
        await world.write(4)
        world.replica.polled((1, 4), 0.0)
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 0)
        world.replica.polled((1, 4), 0.0)
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 4)
        world.replica.polled(None, 0.0)
        assert world.at == (2, 0), "it is removed: whoever is attached must attach again"


async def test_a_later_session_of_the_same_name_is_another_one() -> None:
    async with opened() as world:
        world.replica.begin(1, 0)
        world.replica.polled(None, 0.0)
        await world.write(2)
        world.replica.begin(1, 1)
        world.replica.take(TailMail("a", "trip", 1, 2))
        await trio.testing.wait_all_tasks_blocked()
        assert world.at == (1, 2)


async def test_who_is_attached_and_what_is_wrong_is_shown_once() -> None:
    moves: list[int] = []
    async with opened(lambda: moves.append(1)) as world:
        tail, ear = world.replica.tail, Ear()
        with tail.listen(ear):
            assert len(moves) == 1
            version = tail.news_version
            world.replica.take(TailMail("a", "trip", 1, 0, (MAC,), (DraftChanged("x", "mac"),)))
            assert tail.news_since(version) == [Presence((MAC, PHONE)), DraftChanged("x", "mac")]
            version = tail.news_version
            world.replica.take(TailMail("a", "trip", 1, 0, (MAC,)))
            away = SessionProblem("machine_away", "a is away")
            for problem in (None, away, away, None, None):
                world.replica.show(problem)
            assert tail.news_since(version) == [SessionProblem(None, "the session works again")]
            assert tail.news_version == version + 2
        assert len(moves) == 2
        assert tail.devices == (MAC,)


async def test_the_home_lists_the_nodes_and_forgets_a_silent_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    session, line, sent = OneSession(), Line("a"), list[NodeMail]()
    line.take = lambda mail, _: sent.append(mail)

    async def is_home(_: str) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async with trio.open_nursery() as nursery:
        home = SessionsAtHome(line, session, nursery, lambda _: False, is_home)
        with session.tail.listen(Ear(MAC)):
            home.take(FollowMail("b", "trip", devices=(PHONE, PHONE)), 0.0)
            await trio.testing.wait_all_tasks_blocked()
            assert list(session.tail.devices) == [MAC, PHONE, PHONE]
            assert sent == [TailMail("a", "trip", 1, 0, (MAC,))]
            session.tail.post_nowait(DraftChanged("x", "mac"))
            await trio.testing.wait_all_tasks_blocked()
            assert sent[1:] == [TailMail("a", "trip", 1, 0, (MAC,), (DraftChanged("x", "mac"),))]
            await trio.sleep(FOLLOW_S - 1)
            home.take(FollowingMail("b", ("trip", "unknown")), 0.0)
            home.take(FollowMail("b", "trip", devices=(PHONE,)), 0.0)
            await trio.testing.wait_all_tasks_blocked()
            assert list(session.tail.devices) == [MAC, PHONE]
            await trio.sleep(FOLLOW_S + 0.1)
            assert list(session.tail.devices) == [MAC]
            home.take(FollowMail("b", "trip", devices=(PHONE,)), 0.0)
            await trio.testing.wait_all_tasks_blocked()
            home.take(FollowMail("b", "trip", over=True), 0.0)
            await trio.testing.wait_all_tasks_blocked()
            assert list(session.tail.devices) == [MAC]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_heard", [True, False])
async def test_a_node_that_hears_nobody_vouches_for_no_head(is_heard: bool) -> None:
    await trio.lowlevel.checkpoint()
    tail = ReplicaTail("trip", 1, 5, is_heard=lambda: is_heard, sure_at=trio.current_time())
    assert tail.is_current is is_heard


async def test_a_head_that_may_be_old_is_not_vouched_for(autojump_clock: trio.testing.MockClock) -> None:
    """All mail of the home is lost, though this node hears the others."""
    async with opened() as world:
        replica = world.replica
        assert not world.vouches(), "nobody said yet where the session is"
        replica.begin(1, 0)
        assert world.vouches()
        await trio.sleep(SURE_S + 0.1)
        assert not world.vouches()
        replica.polled((1, 0), trio.current_time())
        replica.polled((1, 3), trio.current_time())
        assert world.vouches(), "a moment ago it was the newest"
        await trio.sleep(SURE_S + 0.1)
        replica.polled((1, 3), trio.current_time())
        assert not world.vouches(), "it is behind"
        await world.write(3)
        await trio.testing.wait_all_tasks_blocked()
        replica.polled((1, 3), trio.current_time())
        assert (world.at, world.vouches()) == ((1, 3), True)


async def test_an_answer_that_was_lost_comes_before_its_events() -> None:
    """Before the tail moves on, what is waited for behind its head is settled."""
    async with opened() as world:
        asked: list[tuple[int, int]] = []

        async def settle(after: int, head: int) -> None:
            await trio.lowlevel.checkpoint()
            assert after == world.replica.tail.head_seq
            asked.append((after, head))

        world.replica.settle = settle
        world.replica.begin(1, 0)
        await world.write(4)
        for head in (2, 4):
            world.replica.take(TailMail("a", "trip", 1, head))
            await trio.testing.wait_all_tasks_blocked()
        assert (asked, world.at) == ([(0, 2), (2, 4)], (1, 4))
