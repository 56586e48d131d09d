"""The way of a command through a node: not before this node knows which keys are valid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import attrs
import trio
import trio.testing

from actors.commands import Envelope, Send
from actors.nodes.home import SessionsAtHome
from actors.nodes.notes import NodeNotes
from actors.nodes.replicas import Replicas
from actors.nodes.router import KNOWN_S, Router
from actors.replies import Rejected, Reply
from tests.actors.nodes.rig import AUTHOR, Line, OneSession
from tests.fakes.memory_store import MemoryStore

SEND = Send("m1", "hello")


class LiveSession(OneSession):
    """The session of this node."""

    def is_live(self, session_id: str) -> bool:
        return True


@attrs.define(eq=False)
class World:
    router: Router
    line: Line
    session: OneSession
    revoked: set[str] = attrs.field(factory=set)
    replies: list[Reply] = attrs.field(factory=list)

    async def submit(self) -> None:
        await self.router.submit("trip", Envelope(SEND, AUTHOR, self.replies.append))

    def refusal(self) -> tuple[str, str | None]:
        [refused] = self.replies
        assert isinstance(refused, Rejected)
        return refused.code, refused.message_id


@asynccontextmanager
async def opened() -> AsyncIterator[World]:
    line, session, store, revoked = Line("a"), LiveSession(), MemoryStore(), set[str]()

    async def is_home(_: str) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    async with trio.open_nursery() as nursery:
        home = SessionsAtHome(line, session, nursery, revoked.__contains__, is_home)
        others: Any = None  # no other node takes part
        replicas, notes = Replicas(line, others, others, others), NodeNotes(line)
        mine = cast("Any", session)
        router = Router(mine, line, others, others, home, others, store, store, replicas, nursery, notes)
        yield World(router, line, session, revoked)
        nursery.cancel_scope.cancel()


async def test_a_node_that_hears_the_others_hands_on_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        await world.submit()
        assert (world.session.taken, world.replies, trio.current_time()) == ([SEND], [], 0.0)


async def test_after_a_standstill_a_command_waits_for_the_keys(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The process was stopped, and the key was revoked at another node meanwhile."""
    for revoked in (True, False):
        async with opened() as world, trio.open_nursery() as nursery:
            world.line.silent_s = 8.0
            nursery.start_soon(world.submit)
            await trio.testing.wait_all_tasks_blocked()
            assert (world.session.taken, world.replies) == ([], [])
            world.line.silent_s = 0.0
            world.revoked.update({AUTHOR.key_id} if revoked else ())
            world.line.beaten.set()
            await trio.testing.wait_all_tasks_blocked()
            assert world.session.taken == ([] if revoked else [SEND])
            assert not revoked or world.refusal() == ("forbidden", "m1")


async def test_a_node_that_is_cut_off_refuses(autojump_clock: trio.testing.MockClock) -> None:
    async with opened() as world:
        world.line.silent_s = 8.0
        await world.submit()
        assert (world.session.taken, world.refusal()) == ([], ("storage", "m1"))
        assert trio.current_time() == KNOWN_S
