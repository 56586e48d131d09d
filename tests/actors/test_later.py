"""A message for later, and a turn that runs over its time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actors.commands import Interrupt, Send
from actors.replies import Accepted
from tests.actors.harness import act, ask, open_harness, open_server
from tests.fakes.scripted_hubs import Hang, Say


async def test_a_turn_of_two_hours_makes_no_message_late(autojump_clock: MockClock) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        harness.hubs.scripts["hang"] = [Say("a"), Hang()]
        await ask(server, Send("m1", "hang"))
        at_ms = harness.deps.clock() + 60_000
        assert isinstance(await ask(server, Send("m2", "later", not_before_ms=at_ms)), Accepted)
        assert isinstance(await ask(server, Send("m3", "next")), Accepted)
        await trio.sleep(7200)
        await act(server, Interrupt())
        turn = ("turn_started", "d:handed", "d:consumed", "message", "d:answered", "complete")
        words = await harness.until(*turn, *turn)
        assert harness.hubs.prompts == ["hang", "later", "next"]
        assert not any(word.startswith("notice") for word in words)


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_message_is_not_late_if_the_clock_is_set(autojump_clock: MockClock, is_live: bool) -> None:
    async with open_harness() as harness, open_server(harness) as server:
        at_ms = harness.deps.clock() + 24 * 3_600_000
        assert isinstance(await ask(server, Send("m1", "later", not_before_ms=at_ms)), Accepted)
        if not is_live:
            await trio.sleep(3600)
        assert server.is_live("trip") is is_live
        harness.ahead_ms = at_ms - harness.deps.clock() - 1_800_000
        await trio.sleep(600)
        harness.ahead_ms -= 3_600_000
        await trio.sleep(600)
        assert harness.hubs.prompts == []
        harness.ahead_ms += at_ms - harness.deps.clock()
        set_at = trio.current_time()
        await harness.until("complete")
        assert harness.hubs.prompts == ["later"]
        assert trio.current_time() - set_at < 2
