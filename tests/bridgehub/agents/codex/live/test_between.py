"""Whether terminals share a program is known before it would be restarted under them."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bridgehub.agents.codex.live import between
from bridgehub.protocol.events import HubEvent
from bridgehub.protocol.session_events import Joined
from tests.bridgehub.agents.codex.live.scripted import Scripted, told
from tests.storage.stores import until


@attrs.frozen
class Running:
    """A process of ours that runs."""

    stderr: Any = None

    def poll(self) -> None:
        return None


async def test_a_look_that_a_prompt_ends_is_done_again_after_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked, goes_on = threading.Event(), threading.Event()

    def clients_of(path: str) -> int:
        looked.set()
        goes_on.wait(20)
        return 2

    monkeypatch.setattr(between, "clients_of", clients_of)
    wire, joined = Scripted(), list[HubEvent]()
    session = wire.session("socket", Running())

    async def tell(event: HubEvent) -> None:
        await trio.lowlevel.checkpoint()
        joined.append(event)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.program._read)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(session.between.wait, tell)
                await wait_all_tasks_blocked()
                wire.says(told("thread/settings/updated", threadSettings={}))
                await trio.to_thread.run_sync(looked.wait)
                waiting.cancel_scope.cancel(reason="a prompt came")
                goes_on.set()
            assert joined == []
            assert await session.between.is_shared(), "asked before the program would be restarted"
            nursery.start_soon(session.between.wait, tell)
            await wait_all_tasks_blocked()
            await until(lambda: bool(joined))
            assert joined == [Joined(None, is_joined=True)]
            nursery.cancel_scope.cancel(reason="the test is over")
