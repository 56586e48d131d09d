"""One session's actor over a store and hubs in memory: commit before effect, storage trouble, interrupts, passivation."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.commands import Attach, Close, Decide, Envelope, Interrupt, Send, Warm
from actors.config import ActorConfig
from actors.cursor import Cursor
from actors.replies import Accepted, Closed, Rejected, Reply, SessionView
from actors.supervisor import open_supervisor
from actors.tail import SessionProblem
from bridgehub.protocol import messages as hub
from storage.errors import OutcomeUnknown, StorageFull
from tests.actors.core import author
from tests.actors.harness import CapturingSink, act, ask, open_harness, open_server
from tests.fakes.memory_store import MemoryStore
from tests.fakes.scripted_hubs import Ask, Deaf, Die, Done, Garbage, Hang, Say, Slow

TURN = ["user_message", "turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete"]


async def test_a_turn(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        assert await ask(server, Send("m", "hello")) == Accepted("m", 1, duplicate=False)
        assert await harness.until("complete") == TURN
        assert await ask(server, Send("m", "again")) == Accepted("m", 1, duplicate=True)
        assert await ask(server, Send("m2", "more")) == Accepted("m2", 8, duplicate=False)
        await harness.until(*TURN, "user_message", *TURN[1:])
        prompts = [one for one in harness.hubs.newest.told if isinstance(one, hub.Prompt)]
        assert [(one.content, one.taken_before) for one in prompts] == [("hello", 0), ("more", 1)]
        await trio.testing.wait_all_tasks_blocked()
        assert harness.hubs.newest.acked == len(harness.hubs.newest.log)


async def test_accepted_comes_between_commit_and_event(
    autojump_clock: MockClock,
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        ear = CapturingSink()
        with server.listen("trip", ear) as tail:
            await trio.testing.wait_all_tasks_blocked()
            seen: list[tuple[int, int]] = []

            def reply(_: object) -> None:
                record = harness.store._sessions["trip"].record
                seen.append((record.head_seq, tail.head_seq))
                assert not harness.hubs.hubs

            await server.submit("trip", Envelope(Send("m", "hello"), author("phone"), reply))
            await harness.until("complete")
            assert seen == [(3, 0)]


async def test_two_listeners_agree_and_a_laggard_reads_the_journal(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["long"] = [
            Say("x" * 20_000),
            Slow(1),
            Say("y" * 300_000),
            Slow(1),
            Say("z"),
            Done(),
        ]
        with server.listen("trip", CapturingSink()) as tail:
            cursors = [Cursor(tail, harness.store, 0) for _ in range(3)]
            texts = ["", "", ""]

            async def read(number: int) -> None:
                while (await harness.store.head("trip")).seq > cursors[number].position:
                    for item in (await cursors[number].take(trio.current_time())).items:
                        texts[number] += (
                            getattr(item.event, "content", "") if item.event.kind == "message" else ""
                        )

            await ask(server, Send("m", "long"))
            for _ in range(50):
                await trio.sleep(0.05)
                await read(0)
                await read(1)
            await harness.until("complete")
            assert tail.read_nowait(0) is None, "only the journal still has it"
            for number in range(3):
                await read(number)
            assert texts == ["x" * 20_000 + "y" * 300_000 + "z"] * 3


@pytest.mark.parametrize("after", [False, True])
async def test_an_append_whose_outcome_is_unknown(autojump_clock: MockClock, after: bool) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Attach())
        harness.store.fail_next_append(OutcomeUnknown("disk I/O error"), after=after)
        reply = await ask(server, Send("m", "hello"))
        if after:
            assert reply == Accepted("m", 1, duplicate=False)
        else:
            assert isinstance(reply, Rejected)
            assert (reply.code, reply.message_id) == ("storage", "m")
            assert await ask(server, Send("m", "hello")) == Accepted("m", 1, duplicate=False)
        assert await harness.until("complete") == TURN
        assert harness.hubs.prompts == ["hello"]


@pytest.mark.parametrize("after", [False, True])
async def test_devices_hear_of_an_outcome_that_stays_unknown(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """Once, while the journal does not answer; and that it does again."""
    async with open_harness() as harness, open_server(harness) as server:
        with server.listen("trip", CapturingSink()) as tail:
            await ask(server, Attach())
            harness.store.fail_next_append(OutcomeUnknown("connection lost"), after=after)

            async def head(*_: object) -> None:
                await trio.lowlevel.checkpoint()
                raise StorageFull("it cannot be reached now")

            answering = MemoryStore.head
            monkeypatch.setattr(MemoryStore, "head", head)
            replies: list[Reply] = []
            await server.submit("trip", Envelope(Send("m", "hello"), author("phone"), replies.append))
            await trio.sleep(3)
            assert SessionProblem("storage", "it cannot be reached now") in tail.news_since(0)
            version = tail.news_version
            await trio.sleep(10)
            assert (tail.news_version, replies) == (version, [])
            monkeypatch.setattr(MemoryStore, "head", answering)
            await trio.sleep(3)
            assert SessionProblem(None, "storage takes writes again") in tail.news_since(0)
            assert isinstance(replies[0], Accepted if after else Rejected)


async def test_a_full_disk_refuses_and_service_resumes(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["long"] = [Say("a"), Slow(2), Say("b"), Slow(20), Say("c"), Done()]
        with server.listen("trip", CapturingSink()) as tail:
            await ask(server, Send("m", "long"))
            await trio.sleep(1)
            harness.store.unavailable = StorageFull("no space left")
            await trio.sleep(3)
            assert any(isinstance(n, SessionProblem) and n.code == "storage" for n in tail.news_since(0))
            reply = await ask(server, Send("m2", "x"))
            assert isinstance(reply, Rejected)
            assert (reply.code, reply.message_id) == ("storage", "m2")
            harness.store.unavailable = None
            await trio.sleep(1)
            assert SessionProblem(None, "storage takes writes again") in tail.news_since(0)
            again = await ask(server, Send("m2", "x"))
            assert isinstance(again, Accepted)
            assert not again.duplicate
            await harness.until("complete")
            assert await harness.answers() == ["abc", "ok"]
            assert server.statistics().crash_count == 0


async def test_a_link_that_breaks_loses_and_doubles_nothing(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["long"] = [
            *(act for n in range(20) for act in (Say(f"{n} "), Slow(0.1))),
            Done(),
        ]
        await ask(server, Send("m", "long"))
        for _ in range(8):
            await trio.sleep(0.2)
            harness.hubs.newest.cut_link()
        await harness.until("complete")
        assert await harness.answers() == ["".join(f"{n} " for n in range(20))]
        assert harness.hubs.newest.prompts == ["long"]


async def test_a_decision_made_while_the_link_is_down_reaches_the_hub(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["ask"] = [Ask("p"), Done()]
        await ask(server, Send("m", "ask"))
        await harness.until("permission_requested")
        harness.hubs.newest.cut_link()
        await act(server, Decide("p", "allow"), device="mac")
        await harness.until("permission_resolved", "message", "d:answered", "complete")
        assert await harness.answers() == ["allow"]


@pytest.mark.parametrize(("script", "end"), [
    ([Say("a"), Die()], "error agent_exited"), ([Say("a"), Garbage()], "error agent_protocol"),
])  # fmt: skip
async def test_a_hub_that_dies_ends_its_turn_and_the_queue_goes_on(
    autojump_clock: MockClock, script: list[Say | Die | Garbage], end: str
) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["bad"] = script
        await ask(server, Send("m1", "bad"))
        await ask(server, Send("m2", "good"))
        words = await harness.until("complete")
        assert "d:failed" in words
        assert end in words
        assert len(harness.hubs.hubs) == 2
        assert harness.hubs.forgotten == harness.hubs.buried


async def test_a_start_that_fails_is_told_and_the_next_may_work(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.fail_starts = 1
        await ask(server, Send("m1", "a"))
        assert await harness.until("error agent_exited") == [*TURN[:3], "d:failed", "error agent_exited"]
        await ask(server, Send("m2", "b"))
        await harness.until("complete")


async def test_interrupt(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m", "hang"))
        await harness.until("message")
        await act(server, Interrupt(), device="mac")
        await harness.until("d:interrupted", "interrupted")
        assert harness.hubs.buried == []


@pytest.mark.parametrize("reborn", [False, True])
async def test_a_deaf_hub_is_killed_also_by_the_next_server(autojump_clock: MockClock, reborn: bool) -> None:
    async with open_harness() as harness:
        harness.hubs.scripts["deaf"] = [Say("a"), Deaf()]
        async with open_server(harness) as server:
            await ask(server, Send("m", "deaf"))
            await harness.until("message")
            since = trio.current_time()
            await act(server, Interrupt())
            if not reborn:
                await harness.until("d:interrupted", "interrupted")
                assert trio.current_time() - since < harness.config.interrupt_limit_s + 0.1
            else:
                await trio.testing.wait_all_tasks_blocked()
        if reborn:
            async with open_server(harness):
                await harness.until("d:interrupted", "interrupted")
        assert len(harness.hubs.buried) == 1


async def test_idle_hub_and_actor_leave_and_come_back(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Send("m1", "a"))
        await harness.until("complete")
        await trio.sleep(harness.config.hub_idle_s - 1)
        assert harness.hubs.buried == []
        await trio.sleep(2)
        assert harness.hubs.buried == list(harness.hubs.hubs)
        await trio.sleep(harness.config.actor_idle_s + 1)
        assert server.statistics().live_count == 0
        assert server._children == {}
        await ask(server, Send("m2", "b"))
        await harness.until(*TURN)
        (prompt,) = [one for one in harness.hubs.newest.told if isinstance(one, hub.Prompt)]
        assert (prompt.content, prompt.taken_before) == ("b", 1)


async def test_a_hub_for_a_message_that_does_not_come_is_stopped_soon(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        with server.listen("trip", CapturingSink()):
            await ask(server, Attach())
            await trio.sleep(5_000)  # nobody has done anything for longer than any hub lives
            await act(server, Warm())
            await trio.sleep(harness.config.warm_idle_s - 1)
            assert harness.hubs.buried == []
            await trio.sleep(2)
            assert harness.hubs.buried == list(harness.hubs.hubs)
            await act(server, Warm())
            await ask(server, Send("m", "a"))
            await harness.until("complete")
            await trio.sleep(harness.config.warm_idle_s + 1)
            assert harness.hubs.newest.alive, "a hub that was used lives as long as any other"
            assert len(harness.hubs.hubs) == 2


async def test_few_hubs_are_started_before_a_message(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        ids = [f"s{number}" for number in range(5)]
        await harness.create(*ids)
        for session_id in ids:
            await act(server, Warm(), session_id=session_id)
        await trio.sleep(1)
        assert len(harness.hubs.hubs) == harness.deps.warming.limit == 3
        await ask(server, Send("m", "a"), session_id="s0")  # gives its place back
        await harness.until("complete", session_id="s0")
        await act(server, Warm(), session_id="s4")
        await act(server, Warm(), session_id="s3")
        await trio.sleep(1)
        assert len(harness.hubs.hubs) == 4


async def test_nothing_is_started_on_battery(autojump_clock: MockClock) -> None:
    async def no() -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async with open_harness() as harness, open_server(harness) as server:
        harness.deps.warming.affords = no
        await act(server, Warm())
        await trio.sleep(1)
        assert len(harness.hubs.hubs) == 0
        await ask(server, Warm(joins=True))
        await trio.sleep(1)
        assert len(harness.hubs.hubs) == 1, "a terminal joins it for certain"


async def test_an_attached_device_keeps_the_actor_but_not_the_hub(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        with server.listen("trip", CapturingSink()):
            await ask(server, Send("m1", "a"))
            await trio.sleep(5_000)
            assert server.statistics().live_count == 1
            assert not harness.hubs.newest.alive
        await trio.sleep(harness.config.actor_idle_s + 1)
        assert server.statistics().live_count == 0


async def test_a_message_at_the_very_end_of_an_idle_hub_is_not_unknown(autojump_clock: MockClock) -> None:
    config = ActorConfig(hub_idle_s=10.0)
    for delay in (9.9, 9.99, 10.0, 10.001, 10.1, 10.5, 12.0):
        async with open_harness(config) as harness, open_server(harness) as server:
            harness.hubs.bury_s = 1.0
            await ask(server, Send("m1", "a"))
            ended = trio.current_time()
            await trio.sleep_until(ended + delay)
            await ask(server, Send("m2", "b"))
            words = await harness.until(*TURN)
            assert words == TURN * 2
            assert harness.hubs.prompts == ["a", "b"]


async def test_a_hub_that_dies_idle_costs_no_message(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.bury_s = 1.0
        await ask(server, Send("m1", "a"))
        await harness.until("complete")
        harness.hubs.newest.kill()
        await trio.sleep(0.5)  # its cleanup has begun
        await ask(server, Send("m2", "b"))
        assert await harness.until(*TURN) == TURN * 2


async def test_close_ends_the_hub_of_an_idle_session(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        await ask(server, Send("m", "a"))
        await harness.until("complete")
        assert await ask(server, Close()) == Closed(process_killed=True)
        await trio.sleep(5)
        assert not harness.hubs.newest.alive
        assert await ask(server, Close()) == Closed(process_killed=False)


async def test_a_view_and_what_follows_it_have_no_gap(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["long"] = [*(act for n in range(50) for act in (Say("w "), Slow(0.01))), Done()]
        await ask(server, Send("m", "long"))
        await trio.sleep(0.2)
        with server.listen("trip", CapturingSink()) as tail:
            view = await ask(server, Attach())
            assert isinstance(view, SessionView)
            cursor = Cursor(tail, harness.store, view.head_seq)
            position = view.head_seq
            for _ in range(40):
                await trio.sleep(0.02)
                for item in (await cursor.take(trio.current_time())).items:
                    assert item.first_seq <= position + 1 <= item.seq
                    position = item.seq
            assert (await harness.words())[-1] == "complete"
            assert position == tail.head_seq


async def test_cancelling_a_server_in_mid_append_loses_nothing(autojump_clock: MockClock) -> None:
    async with open_harness() as harness:
        harness.hubs.scripts["long"] = [
            *(act for n in range(30) for act in (Say(f"{n} "), Slow(0.1))),
            Done(),
        ]
        async with open_supervisor(harness.deps) as server:
            await ask(server, Send("m", "long"))
            await harness.until("message")
        for number in range(10):
            async with open_server(harness):
                await trio.sleep(0.03 * number)
        async with open_server(harness):
            await harness.until("complete")
        assert await harness.answers() == ["".join(f"{n} " for n in range(30))]
        assert harness.hubs.prompts == ["long"]
