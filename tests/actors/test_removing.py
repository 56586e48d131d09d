"""A session is removed only at rest, with its hub, and attached devices find that out."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.commands import Attach, Interrupt, Send
from actors.errors import SessionBusy, ShuttingDown
from actors.replies import Accepted
from storage.errors import SessionMissing, StorageFull
from tests.actors.harness import CapturingSink, act, ask, open_harness, open_server
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_hubs import Hang, Say


async def test_a_session_at_rest_goes_with_its_hub(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        seen: list[str] = []
        with server.listen("trip", CapturingSink()) as tail, server.watch(seen.append):
            await ask(server, Send("m", "hello"))
            await harness.until("complete")
            epoch = tail.epoch
            seen.clear()
            await server.remove("trip")
            assert seen == ["trip"]
            assert tail.epoch != epoch
            assert tail.head_seq == 0
            assert len(harness.hubs.buried) == 1
            assert await harness.store.get("trip") is None
            with pytest.raises(SessionMissing):
                await ask(server, Send("m", "hello"))
            with pytest.raises(SessionMissing):
                await server.remove("trip")
        assert server.statistics().live_count == 0


async def test_a_session_that_nobody_uses(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await server.remove("trip")
        assert await harness.store.get("trip") is None
        with pytest.raises(SessionMissing):
            await server.remove("nowhere")
        await harness.create("trip")
        assert await ask(server, Send("m", "hello")) == Accepted("m", 1, duplicate=False)
        await harness.until("complete")


async def test_a_session_that_runs_and_nobody_watches(autojump_clock: MockClock) -> None:
    """Its actor's end takes its entry away, if it is let: the removal must not stumble over that."""
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Send("m", "hello"))
        await harness.until("complete")
        assert server.statistics().live_count == 1
        await server.remove("trip")
        assert await harness.store.get("trip") is None
        assert not server.is_live("trip")
        assert harness.hubs.forgotten == list(harness.hubs.hubs)
        await harness.create("trip")
        assert await ask(server, Send("m", "hello")) == Accepted("m", 1, duplicate=False)
        await harness.until("complete")


async def test_a_session_at_work_is_not_even_disturbed(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m", "hang"))
        await harness.until("message")
        with pytest.raises(SessionBusy):
            await server.remove("trip")
        assert harness.hubs.buried == []
        await act(server, Interrupt(None))
        await harness.until("interrupted")
        await server.remove("trip")


async def test_a_removal_that_storage_refuses_leaves_the_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_harness() as harness, open_server(harness) as server:

        async def refuse(session_id: str) -> None:
            await trio.lowlevel.checkpoint()
            raise StorageFull(session_id)

        await ask(server, Attach())
        with monkeypatch.context() as patch:
            patch.setattr(MemoryStore, "remove", lambda _, session_id: refuse(session_id))
            with pytest.raises(StorageFull):
                await server.remove("trip")
        assert isinstance(await ask(server, Send("m", "hello")), Accepted)
        await harness.until("complete")


async def test_a_server_that_stops_removes_nothing(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await server.close(stop_hubs=True)
        with pytest.raises(ShuttingDown):
            await server.remove("trip")
