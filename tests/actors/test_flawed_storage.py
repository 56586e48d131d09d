"""Storage that takes writes and cannot be read: nothing spins, nothing crashes, and service comes back by itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs
import trio
from trio.testing import MockClock

from actors.commands import Attach, Envelope, Interrupt, Send
from actors.events.conversation import Attachment
from actors.replies import Accepted, Rejected, Reply
from actors.tail import SessionProblem, Tail
from bridgehub.protocol.messages import InterruptTurn, Prompt
from storage.errors import StorageFull, StorageUnavailable
from storage.records import Row, SessionRecord
from tests.actors.core import author
from tests.actors.harness import CapturingSink, act, ask, open_harness, open_server
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_hubs import Done, Hang, Say, Slow

CALM_CALLS = 60
"""Reads in ten seconds of trouble: three tries each half second. One that spins makes as many in a millisecond."""


@attrs.define(eq=False)
class FlawedStore(MemoryStore):
    """Its rows, or all of it, can be made unreadable. `calls` counts refused reads; too many are a defect."""

    rows_lost: bool = False
    all_lost: bool = False
    calls: int = 0

    def _reading(self, lost: bool) -> None:
        if lost:
            self.calls += 1
            assert self.calls < 10 * CALM_CALLS, "it spins"
            raise StorageUnavailable("disk I/O error")

    async def get(self, session_id: str) -> SessionRecord | None:
        await trio.lowlevel.checkpoint()
        self._reading(self.all_lost)
        return await super().get(session_id)

    async def read(
        self,
        session_id: str,
        after: int,
        limit: int,
        *,
        before: int | None = None,
        kinds: Collection[str] | None = None,
        newest: bool = False,
    ) -> Sequence[Row]:
        await trio.lowlevel.checkpoint()
        self._reading(self.rows_lost or self.all_lost)
        return await super().read(session_id, after, limit, before=before, kinds=kinds, newest=newest)


@attrs.define(eq=False)
class Gossip(CapturingSink):
    """Notes every word of trouble in the moment that it is posted."""

    tail: Tail | None = None
    version: int = 0
    told: list[str | None] = attrs.field(factory=list)

    def wake(self) -> None:
        if self.tail is not None:
            news = self.tail.news_since(self.version)
            self.version = self.tail.news_version
            self.told += [one.code for one in news if isinstance(one, SessionProblem)]


async def test_an_unreadable_journal_is_never_reported_as_well(autojump_clock: MockClock) -> None:
    store = FlawedStore()
    async with open_harness(store=store) as harness, open_server(harness) as server:
        ear = Gossip()
        with server.listen("trip", ear) as ear.tail:
            await ask(server, Attach())
            store.all_lost = True
            store.fail_next_append(StorageUnavailable("disk I/O error"))
            assert isinstance(await ask(server, Send("m1", "a")), Rejected)
            await trio.sleep(10)
            assert set(ear.told) == {"storage"}
            assert store.calls < CALM_CALLS
            store.all_lost = False
            await trio.sleep(1)
            assert ear.told[-1] is None
            assert isinstance(await ask(server, Send("m1", "a")), Accepted)
            await harness.until("complete")
        assert server.statistics().crash_count == 0


async def test_an_unreadable_journal_is_asked_now_and_then(autojump_clock: MockClock) -> None:
    store = FlawedStore()
    async with open_harness(store=store) as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        await harness.until("message")
        store.rows_lost = True
        store.fail_next_append(StorageUnavailable("disk I/O error"))
        assert isinstance(await ask(server, Send("m2", "b")), Rejected)
        await trio.sleep(10)
        assert store.calls < CALM_CALLS
        store.rows_lost = False
        await trio.sleep(1)
        assert isinstance(await ask(server, Send("m2", "b")), Accepted)
        await act(server, Interrupt())
        await harness.until("complete")
        assert harness.hubs.prompts == ["hang", "b"]
        assert server.statistics().crash_count == 0


async def test_an_unreadable_message_is_handed_once_it_can_be(
    autojump_clock: MockClock,
) -> None:
    store = FlawedStore()
    async with open_harness(store=store) as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        await ask(server, Send("m2", "b"))
        await harness.until("message")
        store.rows_lost = True
        await act(server, Interrupt())
        await trio.sleep(5)
        assert harness.hubs.prompts == ["hang"]
        store.rows_lost = False
        await harness.until("complete")
        assert harness.hubs.prompts == ["hang", "b"]
        assert server.statistics().crash_count == 0


async def test_a_stop_that_storage_refuses_is_kept_and_done_later(
    autojump_clock: MockClock,
) -> None:
    """And not before: what the hub gets follows its commit, as everything does."""
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        await ask(server, Send("m2", "b"))
        await harness.until("message")
        harness.store.unavailable = StorageFull("no space left")
        await act(server, Interrupt())
        await trio.sleep(5)
        await act(server, Interrupt(), device="mac")
        refused = await ask(server, Interrupt("another"))
        assert isinstance(refused, Rejected)
        assert refused.code == "storage"
        assert not any(isinstance(one, InterruptTurn) for one in harness.hubs.newest.told)
        harness.store.unavailable = None
        words = await harness.until("complete")
        assert words.count("interrupted") == 1
        stops = [one for one in harness.hubs.newest.told if isinstance(one, InterruptTurn)]
        turn = next(item.turn_id for item in await harness.items() if item.event.kind == "turn_started")
        assert stops == [InterruptTurn(turn or "")]
        assert harness.hubs.prompts == ["hang", "b"]


async def test_a_kept_stop_of_an_ended_turn_stops_no_other(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts |= {"long": [Say("a"), Slow(5), Done()], "hang": [Say("b"), Hang()]}
        await ask(server, Send("m1", "long"))
        await ask(server, Send("m2", "hang"))
        await harness.until("message")
        harness.store.unavailable = StorageFull("no space left")
        await act(server, Interrupt())
        await trio.sleep(10)  # the hub is through with it, and nobody has heard
        harness.store.unavailable = None
        await trio.sleep(10)
        words = await harness.words()
        assert "d:answered" in words
        assert words[-1] == "message", "the second turn runs"


async def test_a_kept_stop_is_answered_by_a_server_that_ends(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        await harness.until("message")
        harness.store.unavailable = StorageFull("no space left")
        replies: list[Reply] = []
        await server.submit("trip", Envelope(Interrupt(), author("phone"), replies.append))
        await trio.sleep(2)
        assert replies == []
        await server.close(stop_hubs=False)
        (reply,) = replies
        assert isinstance(reply, Rejected)


async def test_a_file_that_cannot_be_brought_is_handed_later(autojump_clock: MockClock) -> None:
    """The agent gets the message with its file, once; until then devices hear why it waits."""
    tries: list[str] = []

    async def path_for(file: Attachment) -> str:
        await trio.lowlevel.checkpoint()
        tries.append(file.id)
        if len(tries) < 4:
            raise StorageFull("no space left")
        return f"/uploads/{file.id}"

    file = Attachment("f1", "a.png", "image/png", 3, "image", "/u")
    async with open_harness() as harness:
        harness.deps = attrs.evolve(harness.deps, path_for=path_for)
        async with open_server(harness) as server:
            ear = Gossip()
            with server.listen("trip", ear) as ear.tail:
                assert isinstance(await ask(server, Send("m1", "look", (file,))), Accepted)
                await harness.until("complete")
            assert set(ear.told) == {"storage", None}
            assert server.statistics().crash_count == 0
        prompts = [one for hub in harness.hubs.hubs.values() for one in hub.told if isinstance(one, Prompt)]
        assert [one.content for one in prompts] == ["look"]
        assert [one["path"] for one in prompts[0].attachments] == ["/uploads/f1"]
        assert len(tries) == 4
