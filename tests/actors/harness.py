"""Sessions on fakes: no socket, no process, no file, and time is virtual (`docs/internals/testing.md`, "The harness")."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import attrs
import trio

from actors.commands import Command, Envelope
from actors.config import ActorConfig
from actors.events.codec import decode_row, encode_settings
from actors.events.committed import Committed
from actors.events.conversation import Message
from actors.events.session import Settings
from actors.replies import Reply
from actors.session.effect_runner import SessionDeps
from actors.supervisor import Supervisor, open_supervisor
from actors.tail import AttachedDevice
from bridgehub.protocol.hub_spec import HubSpec
from storage.records import NewSession, SessionRecord
from tests.actors.core import author, word_of
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_hubs import ScriptedHubs, open_scripted_hubs

__all__ = ["LONG_S", "CapturingSink", "Harness", "act", "ask", "open_harness", "open_server"]

LONG_S = 60.0
"""Virtual seconds after which a test that waits has failed."""


@attrs.define(eq=False)
class CapturingSink:
    """A listener that counts its wakes."""

    device: AttachedDevice | None = None
    wakes: int = 0
    woken: trio.Event = attrs.field(factory=trio.Event)

    def wake(self) -> None:
        self.wakes += 1
        self.woken.set()


@attrs.define(eq=False)
class Harness:
    """A store and hubs that outlive servers, and what a server is made of.

    Attributes:
        broken: raised by the clock, once each.
        ahead_ms: how far the clock of the wall was set.
    """

    hubs: ScriptedHubs
    store: MemoryStore = attrs.field(factory=MemoryStore)
    config: ActorConfig = attrs.field(factory=ActorConfig)
    broken: list[Exception] = attrs.field(factory=list)
    after_break: Callable[[], None] = lambda: None
    """Called with the last of `broken`."""
    ahead_ms: int = 0
    deps: SessionDeps = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        numbers = count(1)

        def spec_for(record: SessionRecord, hub_id: str) -> HubSpec:
            return HubSpec(hub_id, record.session_id, "echo", "echo", "/f", "/s", "/w", {}, {}, "a")

        self.deps = SessionDeps(
            journal=self.store,
            ownership=self.store,
            catalog=self.store,
            hubs=self.hubs,
            clock=self._now,
            new_id=lambda: f"id{next(numbers)}",
            spec_for=spec_for,
            config=self.config,
        )

    def _now(self) -> int:
        if self.broken:
            error = self.broken.pop()
            if not self.broken:
                self.after_break()
            raise error
        return int(trio.current_time() * 1000) + self.ahead_ms

    async def create(self, *session_ids: str) -> None:
        for session_id in session_ids:
            await self.store.create(
                NewSession(session_id, "echo", "phone", encode_settings(Settings("/w")), 0)
            )

    async def items(self, session_id: str = "trip") -> list[Committed]:
        """Return the whole journal of a session."""
        items: list[Committed] = []
        while rows := await self.store.read(session_id, items[-1].seq if items else 0, 500):
            items += map(decode_row, rows)
        return items

    async def words(self, session_id: str = "trip") -> list[str]:
        """Return the journal in the words of the table."""
        return [word_of(item.event) for item in await self.items(session_id)]

    async def answers(self, session_id: str = "trip") -> list[str]:
        """Return the text of each turn that has any, in order."""
        texts: dict[str | None, str] = {}
        for item in await self.items(session_id):
            if isinstance(item.event, Message):
                texts[item.turn_id] = texts.get(item.turn_id, "") + item.event.content
        return list(texts.values())

    async def until(self, *ends: str, session_id: str = "trip") -> list[str]:
        """Wait until the journal's words end with `ends`, and return them all."""
        with trio.move_on_after(LONG_S):
            while True:
                words = await self.words(session_id)
                if tuple(words[-len(ends) :]) == ends:
                    return words
                await trio.sleep(0.02)
        raise AssertionError(f"waited for {ends}, the journal is {await self.words(session_id)}")


async def ask(
    supervisor: Supervisor, command: Command, *, device: str = "phone", session_id: str = "trip"
) -> Reply:
    """Give a command and wait for its answer."""
    replies: list[Reply] = []
    answered = trio.Event()

    def reply(one: Reply) -> None:
        assert not replies, "answered twice"
        replies.append(one)
        answered.set()

    with trio.fail_after(LONG_S):
        await supervisor.submit(session_id, Envelope(command, author(device), reply))
        await answered.wait()
    return replies[0]


async def act(
    supervisor: Supervisor, command: Command, *, device: str = "phone", session_id: str = "trip"
) -> None:
    """Give a command that has no answer of its own."""
    await supervisor.submit(session_id, Envelope(command, author(device), _no_answer))


def _no_answer(reply: Reply) -> None:
    raise AssertionError(f"an act was answered: {reply}")


@asynccontextmanager
async def open_harness(
    config: ActorConfig | None = None, *, store: MemoryStore | None = None
) -> AsyncIterator[Harness]:
    """Give a store with the session `trip`, and hubs; servers are opened over it with `open_supervisor`."""
    async with open_scripted_hubs() as hubs:
        harness = Harness(hubs, store or MemoryStore(), config=config or ActorConfig())
        await harness.create("trip")
        yield harness


@asynccontextmanager
async def open_server(harness: Harness) -> AsyncIterator[Supervisor]:
    """Run a supervisor that has taken over what an earlier one left."""
    async with open_supervisor(harness.deps) as supervisor:
        await supervisor.recover()
        yield supervisor
