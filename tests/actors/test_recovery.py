"""The end of a failed session: while storage takes no writes, and with a hub that was let go and lives."""

from __future__ import annotations

import orjson
import trio
import trio.testing

from actors.commands import Close, Send
from actors.config import ActorConfig
from actors.events.codec import encode_settings
from actors.events.session import Settings
from actors.recovery import end_failed_session
from actors.session.effect_runner import SessionDeps
from actors.tail import Tail
from bridgehub.protocol.hub_spec import HubSpec
from storage.errors import StorageUnavailable
from storage.records import NewSession, SessionRecord
from tests.actors.harness import ask, open_harness, open_server
from tests.actors.test_acknowledging import SPEC
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_hubs import open_scripted_hubs


def spec_for(record: SessionRecord, hub_id: str) -> HubSpec:
    return SPEC


async def test_an_end_that_storage_refused_is_written_whole(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()
    await store.create(NewSession("trip", "echo", "phone", encode_settings(Settings("/w")), 0))
    async with open_scripted_hubs() as hubs:
        deps = SessionDeps(
            journal=store,
            ownership=store,
            catalog=store,
            hubs=hubs,
            clock=lambda: 5,
            new_id=lambda: "id1",
            spec_for=spec_for,
            config=ActorConfig(),
        )
        store.fail_next_append(StorageUnavailable("full"))
        with trio.fail_after(60):
            await end_failed_session(deps, "trip", Tail("trip", 1, 0), "three crashes")
    record = await store.get("trip")
    assert record is not None
    assert record.summary is not None
    assert record.summary.snapshot is not None
    assert record.summary.state == "failed"
    assert orjson.loads(record.summary.snapshot)["failed"] is True


async def test_a_hub_that_was_let_go_does_not_outlive_its_session(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Send("m1", "a"))
        await harness.until("complete")
        let_go = harness.hubs.newest
        let_go.stubborn, harness.hubs.bury_s = True, 1.0
        await ask(server, Close())  # it is asked to stop, does not, and is to be killed two seconds later
        harness.broken += [RuntimeError("a defect") for _ in range(4)]
        await ask(server, Send("m2", "b"))
        await harness.until("session_updated")
        assert not let_go.alive
        assert harness.hubs.buried == [let_go.spec.hub_id]
