"""Hubs that cannot be reached, that died with something left to say, and what is on disk before one starts."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio
from trio.testing import MockClock

from actors.commands import Send
from actors.replies import Accepted
from actors.session.snapshot import restore
from actors.supervisor import open_supervisor
from bridgehub.protocol import events as hub
from storage.records import Entry, Fold, Grant, Summary
from tests.actors.harness import ask, open_harness, open_server
from tests.fakes.memory_store import MemoryStore

TURN = ["user_message", "turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete"]


async def test_a_message_leaves_a_hub_that_takes_no_link(
    autojump_clock: MockClock,
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Send("m1", "a"))
        await harness.until("complete")
        first = harness.hubs.newest
        first.shy = True
        first.cut_link()
        await trio.sleep(1)
        since = trio.current_time()
        assert isinstance(await ask(server, Send("m2", "b")), Accepted)
        assert await harness.until(*TURN, *TURN) == TURN * 2
        patience = harness.config.link_patience_s
        assert patience - 0.1 < trio.current_time() - since < patience + 5
        assert not first.alive
        assert first.prompts == ["a"]
        assert harness.hubs.newest.prompts == ["b"]


async def test_what_an_idle_hub_left_is_journalled_by_the_next_server(autojump_clock: MockClock) -> None:
    async with open_harness() as harness:
        async with open_supervisor(harness.deps) as server:
            await ask(server, Send("m1", "a"))
            await harness.until("complete")
        left = harness.hubs.newest
        left.report(hub.AgentMemory(None, {"place": 7}))  # what its agent must know again
        left.spools = True
        left.kill()
        async with open_server(harness) as server:
            await ask(server, Send("m2", "b"))
            await harness.until(*TURN, *TURN)
        assert harness.hubs.forgotten == [left.spec.hub_id]
        assert harness.hubs.newest.spec.agent_memory == {"place": 7}


@attrs.define(eq=False)
class NotingStore(MemoryStore):
    """Notes of each append which hub it names, and whether it was to be durable."""

    noted: list[tuple[str | None, bool]] = attrs.field(factory=list)

    async def append(
        self,
        grant: Grant,
        expected_seq: int,
        entries: Sequence[Entry],
        *,
        fold: Sequence[Fold] = (),
        durable: bool,
        summary: Summary | None = None,
    ) -> int:
        assert summary is not None
        self.noted.append((summary.hub_id, durable))
        return await super().append(grant, expected_seq, entries, fold=fold, durable=durable, summary=summary)


async def test_a_hub_s_id_is_on_disk_before_the_hub_starts(autojump_clock: MockClock) -> None:
    """Also where the commit that names it holds no event: a hub that nobody knows would be killed by the next
    server, and its message handed to another."""
    store = NotingStore()
    async with open_harness(store=store) as harness, open_server(harness) as server:
        harness.hubs.bury_s = 1.0
        await ask(server, Send("m1", "a"))
        await harness.until("complete")
        harness.hubs.newest.kill()
        await trio.sleep(0.5)  # its cleanup has begun
        await ask(server, Send("m2", "b"))
        await harness.until(*TURN, *TURN)
    assert len(harness.hubs.hubs) == 2
    for hub_id in harness.hubs.hubs:
        durable = next(durable for named, durable in store.noted if named == hub_id)
        assert durable, f"the first commit that names {hub_id}"


async def test_a_gauge_after_a_turn_waits_for_no_disk_and_is_kept(autojump_clock: MockClock) -> None:
    """The append is the one that notes how far the hub was heard; the gauge only comes along."""
    store, gauge = NotingStore(), {"context": {"used": 10, "window": 100}}
    async with open_harness(store=store) as harness:
        async with open_server(harness) as server:
            await ask(server, Send("m1", "a"))
            await harness.until("complete")
            await trio.testing.wait_all_tasks_blocked()
            appends = len(store.noted)
            harness.hubs.newest.report(hub.Gauged(None, gauge))
            await trio.testing.wait_all_tasks_blocked()
            assert [durable for _, durable in store.noted[appends:]] == [False]
        record = await store.get("trip")
        assert record is not None
        assert restore(record).gauge == gauge
