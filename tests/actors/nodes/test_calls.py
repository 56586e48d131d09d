"""A command for another node is done once or not at all, and its sender always hears which, whatever the mail does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from actors.commands import Attach, Decide, Envelope, Interrupt, Send
from actors.errors import MachineAway, SessionFailed, ShuttingDown
from actors.nodes.calls import GIVEN_UP_S, HomeCalls
from actors.nodes.home import STALE_S, SessionsAtHome
from actors.nodes.mail import CommandMail, NodeMail, ReplyMail, TakenMail
from actors.replies import Accepted, Rejected, Reply
from storage.errors import SessionMissing, StorageUnavailable
from tests.actors.nodes.rig import AUTHOR, Line, OneSession, ids
from tests.fakes.memory_store import MemoryStore
from tests.storage.journal_contract import entry, new_session

SEND = Send("m1", "hello")


@attrs.define(eq=False)
class World:
    """A gateway `b` and a home `a`."""

    calls: HomeCalls
    home: SessionsAtHome
    session: OneSession
    store: MemoryStore
    out: Line
    back: Line
    replies: list[Reply] = attrs.field(factory=list)

    async def submit(self, command: Send | Decide | Interrupt | Attach) -> None:
        await self.calls.submit("a", "trip", Envelope(command, AUTHOR, self.replies.append))


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    out, back, session, store = Line("b"), Line("a"), OneSession(), MemoryStore()
    session.answer = lambda command: Accepted("m1", 1, duplicate=False) if isinstance(command, Send) else None
    out.see("a")

    async def is_home(session_id: str) -> bool:
        await trio.lowlevel.checkpoint()
        return session_id == "trip"

    async with trio.open_nursery() as nursery:
        home = SessionsAtHome(back, session, nursery, lambda _: False, is_home)
        calls = HomeCalls(out, store, ids("key"), nursery)
        out.take = home.take
        back.take = lambda mail, _: calls.take(mail)
        yield World(calls, home, session, store, out, back)
        nursery.cancel_scope.cancel()


async def test_a_command_is_taken_and_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.submit(SEND)
        assert (world.session.taken, world.replies) == ([SEND], [Accepted("m1", 1, duplicate=False)])


@pytest.mark.parametrize("lost", [CommandMail, TakenMail])
async def test_a_lost_mail_costs_seconds_and_nothing_else(
    lost: type[NodeMail], autojump_clock: trio.testing.MockClock
) -> None:
    async with opened() as world:
        left = [1]

        def lose_one(mail: NodeMail) -> int:
            if isinstance(mail, lost) and left:
                return 1 - left.pop()
            return 1

        world.out.alter = world.back.alter = lose_one
        await world.submit(Interrupt())
        assert world.session.taken == [Interrupt()], "once, though it came twice"


async def test_a_doubled_mail_is_done_once(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.out.alter = lambda _: 2
        await world.submit(Interrupt())
        await trio.testing.wait_all_tasks_blocked()
        assert world.session.taken == [Interrupt()]


async def test_a_home_that_does_not_answer(autojump_clock: trio.testing.MockClock) -> None:
    """Its sender is heard in time, and what is still under way is not done later."""
    async with opened() as world:
        world.out.alter = lambda _: 0
        began = trio.current_time()
        with pytest.raises(StorageUnavailable, match="nobody knows"):
            await world.submit(SEND)
        assert trio.current_time() - began <= GIVEN_UP_S < STALE_S
        world.out.alter, world.out.age_s = (lambda _: 1), STALE_S + 0.1
        late = next(mail for mail in world.out.sent if isinstance(mail, CommandMail))
        world.home.take(late, STALE_S + 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert world.session.taken == []


async def test_a_home_that_is_away(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.out.see("a", alive=False)
        with pytest.raises(MachineAway, match="a"):
            await world.submit(SEND)
        assert world.out.sent == []


@pytest.mark.parametrize("stored", [True, False])
async def test_a_home_that_dies_before_it_confirms(
    stored: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """It may have taken the command all the same: the journal knows of a message, and nobody of the others."""
    async with opened() as world:
        await world.store.create(new_session("trip"))
        world.out.alter = lambda _: 0

        async def die() -> None:
            await trio.testing.wait_all_tasks_blocked()
            if stored:
                await store(world, "m1")
            world.out.see("a", alive=False)
            world.calls.look()

        began = trio.current_time()
        for command in (SEND, Interrupt(), Attach()):
            world.out.see("a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(die)
                if command is SEND:
                    await world.submit(command)
                else:
                    what = "is away" if isinstance(command, Attach) else "not known whether this was done"
                    with pytest.raises(MachineAway, match=what):
                        await world.submit(command)
            stored = False
        world.calls.look()
        await trio.testing.wait_all_tasks_blocked()
        [reply] = world.replies
        if (await world.store.head("trip")).seq:
            assert reply == Accepted("m1", 1, duplicate=True)
        else:
            assert isinstance(reply, Rejected)
            assert (reply.code, reply.message_id) == ("storage", "m1")
        assert trio.current_time() - began < 1


@pytest.mark.parametrize("command", [Interrupt(), Decide("r1", "allow")], ids=lambda one: type(one).__name__)
async def test_a_home_that_dies_with_a_command_that_it_took(
    command: Decide | Interrupt, autojump_clock: trio.testing.MockClock
) -> None:
    """Most commands are answered only if they are refused, so nobody knows; the code says that its machine is away."""
    async with opened() as world:
        await world.submit(command)
        world.out.see("a", alive=False)
        world.calls.look()
        [reply] = world.replies
        assert isinstance(reply, Rejected)
        assert (reply.code, "not known" in reply.content) == ("machine_away", True)
        assert reply.request_id == ("r1" if isinstance(command, Decide) else None)


async def test_a_home_that_starts_again_gets_a_message_again(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.out.alter = lambda _: 0  # it dies with the mail

        async def start_again() -> None:
            await trio.testing.wait_all_tasks_blocked()
            world.out.alter = lambda _: 1
            world.out.see("a", incarnation=2)
            world.calls.look()

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_again)
            await world.submit(SEND)
        assert (world.session.taken, world.replies) == ([SEND], [Accepted("m1", 1, duplicate=False)])
        assert trio.current_time() - began < 1


async def test_an_earlier_attempt_may_be_in_the_journal(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.store.create(new_session("trip"))
        sent = Envelope(SEND, AUTHOR, world.replies.append)
        assert not await world.calls.answered("trip", sent)
        await store(world, "m1")
        assert await world.calls.answered("trip", sent)
        assert world.replies == [Accepted("m1", 1, duplicate=True)]
        assert not await world.calls.answered("trip", attrs.evolve(sent, command=Interrupt()))


async def test_a_message_is_answered_before_its_events_are_shown(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its reply was lost, and the word that the session is further on was not."""
    async with opened() as world:
        world.back.alter = lambda mail: 0 if isinstance(mail, ReplyMail) else 1
        await world.store.create(new_session("trip"))
        await world.submit(SEND)
        await world.calls.settle("trip", 0, 1)
        assert world.replies == [], "it is not in the journal"
        await store(world, "m1")
        await world.calls.settle("other", 0, 9)
        await world.calls.settle("trip", 1, 9)
        await world.calls.settle("trip", 0, 0)
        assert world.replies == [], "only what is shown next must be answered first"
        await world.calls.settle("trip", 0, 1)
        await world.calls.settle("trip", 0, 1)
        assert world.replies == [Accepted("m1", 1, duplicate=True)]


async def store(world: World, message_id: str) -> None:
    grant = await world.store.acquire("trip")
    one = attrs.evolve(entry(kind="user_message"), command_id=message_id, command_state="accepted")
    await world.store.append(grant, 0, [one], durable=True)


@pytest.mark.parametrize("stored", [True, False])
async def test_a_reply_that_is_lost_is_read_from_the_journal(
    stored: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """`accepted` is what the journal has; if the home died before, nothing was taken and the sender hears that."""
    async with opened() as world:
        world.back.alter = lambda mail: 0 if isinstance(mail, ReplyMail) else 1
        await world.store.create(new_session("trip"))
        if stored:
            await store(world, "m1")
        await world.submit(SEND)
        world.calls.look()
        await trio.testing.wait_all_tasks_blocked()
        assert world.replies == []
        world.out.see("a", alive=False)
        world.calls.look()
        await trio.testing.wait_all_tasks_blocked()
        if stored:
            assert world.replies == [Accepted("m1", 1, duplicate=True)]
        else:
            [refused] = world.replies
            assert isinstance(refused, Rejected)
            assert (refused.code, refused.message_id) == ("storage", "m1")
        world.calls.look()
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.replies) == 1


@pytest.mark.parametrize(
    ("refusal", "raised"),
    [
        (SessionMissing("trip"), SessionMissing),
        (SessionFailed("trip", 4.0), SessionFailed),
        (ShuttingDown("stop"), ShuttingDown),
        (StorageUnavailable("full"), StorageUnavailable),
    ],
    ids=lambda one: type(one).__name__,
)
async def test_what_a_home_raises_is_raised_here(
    refusal: Exception, raised: type[Exception], autojump_clock: trio.testing.MockClock
) -> None:
    async with opened() as world:
        world.session.refusal = refusal
        with pytest.raises(raised):
            await world.submit(SEND)
        assert world.replies == []


async def test_a_revoked_author_is_refused_at_the_home(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.home.is_revoked = lambda key_id: key_id == "key"
        await world.submit(SEND)
        [refused] = world.replies
        assert isinstance(refused, Rejected)
        assert (refused.code, world.session.taken) == ("forbidden", [])


async def test_another_sessions_home_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        with pytest.raises(SessionMissing):
            await world.calls.submit("a", "other", Envelope(SEND, AUTHOR, world.replies.append))
        assert world.session.taken == []


async def test_nothing_is_sent_while_nobody_knows_who_is_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with opened() as world:
        world.out.silent_s = 3.1
        with pytest.raises(StorageUnavailable, match="database"):
            await world.submit(SEND)
        assert world.out.sent == []
