"""The supervisor over fakes: crashes stay apart, failed sessions come back, and a new server takes over in every phase."""

from __future__ import annotations

import logging

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.commands import Attach, Decide, Envelope, Interrupt, Send
from actors.errors import SessionFailed, ShuttingDown
from actors.replies import Accepted, Rejected, Reply
from actors.session.mailbox import COMMAND_LIMIT
from actors.supervisor import open_supervisor
from actors.tail import SessionProblem
from bridgehub.protocol.hub_spec import HubSpec
from storage.errors import SessionMissing, StorageFull
from storage.records import SessionRecord
from tests.actors.core import author
from tests.actors.harness import CapturingSink, Harness, act, ask, open_harness, open_server
from tests.fakes.scripted_hubs import SILENT, Ask, Done, Hang, Say, Slow

TURN = ["user_message", "turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete"]


async def test_an_unknown_session_is_said_to_be_missing(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        with pytest.raises(SessionMissing):
            await ask(server, Attach(), session_id="nowhere")
        assert server.statistics().live_count == 0


async def test_a_crash_is_one_session_s_own(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await harness.create("other")
        harness.hubs.scripts["long"] = [Say("a"), Slow(5), Say("b"), Done()]
        await ask(server, Send("m", "long"), session_id="other")
        await ask(server, Attach())
        harness.broken.append(RuntimeError("a defect"))
        reply = await ask(server, Send("m", "hello"))
        assert isinstance(reply, Rejected)
        assert (reply.code, reply.message_id) == ("storage", "m")
        assert await ask(server, Send("m", "hello")) == Accepted("m", 1, duplicate=False)
        await harness.until("complete")
        await harness.until("complete", session_id="other")
        assert await harness.answers("other") == ["ab"]
        assert server.statistics().crash_count == 1
        assert sum(record.levelno >= logging.ERROR for record in caplog.records) == 1


async def fail(harness: Harness, count: int = 4) -> None:
    """Let the session's actor crash so often in a row."""
    harness.broken += [RuntimeError("a defect") for _ in range(count)]


async def test_too_many_crashes_and_the_session_is_failed_then_revived(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        with server.listen("trip", CapturingSink()) as tail:
            await ask(server, Send("m1", "hang"))
            await ask(server, Send("m2", "next"))
            await harness.until("d:queued", "d:consumed", "message")
            await fail(harness)
            await ask(server, Send("m3", "x"))
            words = await harness.until("d:failed", "error agent_exited", "session_updated")
            assert server.statistics().failed_count == 1
            assert [n.code for n in tail.news_since(0) if isinstance(n, SessionProblem)] == ["session_failed"]
            assert len(harness.hubs.buried) == 1
            with pytest.raises(SessionFailed):
                await ask(server, Send("m4", "x"))
            await trio.sleep(harness.config.revive_after_s)
            reply = await ask(server, Send("m4", "x"))
            assert isinstance(reply, Accepted)
            await harness.until("complete")
            assert (await harness.words())[len(words)] == "session_updated"
            assert harness.hubs.prompts == ["hang", "next", "x"]
            assert server.statistics().failed_count == 0


async def test_a_session_revived_before_its_end_is_stored_answers(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        await harness.until("message")

        def fill() -> None:
            harness.store.unavailable = StorageFull("no space left")

        harness.after_break = fill
        await fail(harness)
        await ask(server, Send("m2", "x"))
        await trio.sleep(harness.config.revive_after_s + 1)
        assert (await harness.words())[-1] == "message"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, server, Send("m3", "more"))
            await trio.sleep(5)
            harness.store.unavailable = None
        words = await harness.until("complete")
        assert words[5:8] == ["d:failed", "error agent_exited", "session_updated"]
        assert harness.hubs.prompts == ["hang", "more"]


async def test_a_second_supervisor_fences_the_first(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as old:
        harness.hubs.scripts["long"] = [Say("a"), Slow(5), Say("b"), Done()]
        await ask(old, Send("m1", "long"))
        await harness.until("message")
        async with open_server(harness) as new:
            await harness.until("complete")
            assert await harness.answers() == ["ab"]
            await trio.testing.wait_all_tasks_blocked()
            assert old.statistics().live_count == 0
            assert old.statistics().crash_count == 0
            assert await ask(new, Send("m2", "x")) == Accepted("m2", 9, duplicate=False)


PHASES = ["hub not started", "handed", "consumed", "waiting", "stopping", "queue", "done while away", "idle"]


@pytest.mark.parametrize("phase", PHASES)
async def test_the_next_server_takes_over(autojump_clock: MockClock, phase: str) -> None:
    async with open_harness() as harness:
        hubs = harness.hubs
        hubs.scripts |= {
            "long": [Say("a"), Slow(5), Say("b"), Done()],
            "ask": [Ask("p"), Done()],
            "hang": [Hang()],
        }
        async with open_supervisor(harness.deps) as server:
            hubs.start_s = 5.0 if phase == "hub not started" else 0.0
            content = {"waiting": "ask", "stopping": "hang", "handed": SILENT, "idle": "short"}.get(
                phase, "long"
            )
            await ask(server, Send("m1", content))
            if phase == "queue":
                await ask(server, Send("m2", "next"))
            await trio.sleep(1)
            if phase == "stopping":
                await act(server, Interrupt(), device="mac")
                await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(10 if phase == "done while away" else 0)
        hubs.start_s = 0.0
        async with open_server(harness) as server:
            if phase == "waiting":
                await act(server, Decide("p", "deny"))
            if phase == "handed":
                await trio.sleep(1)
                assert hubs.newest.prompts == [SILENT, SILENT]
                hubs.newest.kill()
            end = {"handed": "error unknown_outcome", "stopping": "interrupted"}.get(phase, "complete")
            await harness.until(end)
            texts = {"waiting": ["deny"], "idle": ["ok"], "queue": ["ab", "ok"], "consumed": ["ab"]}
            assert await harness.answers() == texts.get(phase, ["ab"] if end == "complete" else [])
            assert isinstance(await ask(server, Send("m9", "more")), Accepted)
            await harness.until(*TURN)


@pytest.mark.parametrize("stop_hubs", [False, True])
async def test_closing_leaves_what_it_must(autojump_clock: MockClock, stop_hubs: bool) -> None:
    async with open_harness() as harness:
        await harness.create("idle")
        harness.hubs.scripts["long"] = [Say("a"), Slow(5), Say("b"), Done()]
        async with open_server(harness) as server:
            await ask(server, Send("m1", "x"), session_id="idle")
            await harness.until("complete", session_id="idle")
            await ask(server, Send("m1", "long"))
            await harness.until("message")
            await server.close(stop_hubs=stop_hubs)
            await server.close(stop_hubs=stop_hubs)
            with pytest.raises(ShuttingDown):
                await ask(server, Send("m2", "x"))
            alive = {hub.spec.session_id for hub in harness.hubs.hubs.values() if hub.alive}
            assert alive == (set() if stop_hubs else {"trip"})
        async with open_server(harness) as server:
            await harness.until("error agent_exited" if stop_hubs else "complete")
            for session_id in ("trip", "idle"):
                await ask(server, Send("m3", "more"), session_id=session_id)
                await harness.until(*TURN, session_id=session_id)  # none of them is unknown


async def test_hubs_that_no_session_knows_are_ended(autojump_clock: MockClock) -> None:
    async with open_harness() as harness:
        async with open_supervisor(harness.deps) as server:
            await ask(server, Send("m1", "x"))
            await harness.until("complete")
        record = await harness.store.get("trip")
        assert record is not None
        await harness.hubs.start(harness.deps.spec_for(record, "stray"))
        async with open_server(harness):
            assert harness.hubs.buried == ["stray"]
            assert harness.hubs.forgotten == ["stray"]


async def test_a_command_that_no_actor_took_is_refused(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        replies: list[Reply] = []
        await server.submit("trip", Envelope(Send("m", "x"), author("phone"), replies.append))
        await server.close(stop_hubs=False)
        (reply,) = replies
        assert isinstance(reply, Rejected)
        assert (reply.code, reply.message_id) == ("shutting_down", "m")
        assert await harness.words() == []


async def test_a_defect_after_the_commit_loses_no_message(autojump_clock: MockClock) -> None:
    async with open_harness() as harness:
        spec_for, defects = harness.deps.spec_for, [RuntimeError("a defect")]

        def broken_spec_for(record: SessionRecord, hub_id: str) -> HubSpec:
            if defects:
                raise defects.pop()
            return spec_for(record, hub_id)

        harness.deps = attrs.evolve(harness.deps, spec_for=broken_spec_for)
        async with open_server(harness) as server:
            assert await ask(server, Send("m1", "x")) == Accepted("m1", 1, duplicate=False)
            await harness.until(*TURN)  # the hub was never started, so nobody can have taken the message


async def test_waiting_senders_are_answered_if_the_session_fails(
    autojump_clock: MockClock,
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Attach())
        await fail(harness)
        codes: list[str] = []

        async def send(number: int) -> None:
            try:
                reply = await ask(server, Send(f"m{number}", "x"))
            except SessionFailed:
                codes.append("failed")
            else:
                assert isinstance(reply, Rejected)
                codes.append(reply.code)

        async with trio.open_nursery() as nursery:
            for number in range(3 * COMMAND_LIMIT):
                nursery.start_soon(send, number)
        assert len(codes) == 3 * COMMAND_LIMIT
        assert set(codes) <= {"storage", "failed"}
        assert harness.hubs.prompts == []
