"""What counts as an agent's silence, under a virtual clock: nothing here is real but the measure."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from bridgehub.protocol.events import HubEvent, TaskBegan, TaskEnded, TextPiece, ToolBegan, ToolEnded
from bridgehub.watchdog import InactivityWatchdog

LIMIT_S = 10.0


async def lasts(silence: InactivityWatchdog) -> float:
    """Return when the silence had lasted."""
    start = trio.current_time()
    await silence.lasted(LIMIT_S)
    return trio.current_time() - start


async def test_it_begins_with_the_last_word(autojump_clock: MockClock) -> None:
    silence = InactivityWatchdog()
    async with trio.open_nursery() as nursery:

        async def talk() -> None:
            for _ in range(10):
                await trio.sleep(LIMIT_S - 1)
                silence.heard(TextPiece("t", "text", "b", "word"))

        nursery.start_soon(talk)
        spoken_s = 10 * (LIMIT_S - 1)
        assert spoken_s + LIMIT_S <= await lasts(silence) <= spoken_s + 2 * LIMIT_S


@pytest.mark.parametrize(
    ("began", "ended"),
    [
        (ToolBegan("t", "1", "Bash", {}), ToolEnded("t", "1", "Bash", "", is_error=False)),
        (TaskBegan("t", "1", "title", "codex"), TaskEnded("t", "1", "succeeded")),
    ],
)
async def test_work_may_take_any_time(autojump_clock: MockClock, began: HubEvent, ended: HubEvent) -> None:
    silence = InactivityWatchdog()
    silence.heard(began)
    with trio.move_on_after(1000) as scope:
        await silence.lasted(LIMIT_S)
    assert scope.cancelled_caught
    silence.heard(ended)
    assert await lasts(silence) == pytest.approx(LIMIT_S)


async def test_a_person_may_take_any_time(autojump_clock: MockClock) -> None:
    silence = InactivityWatchdog()
    with silence.held(), trio.move_on_after(1000) as scope:
        await silence.lasted(LIMIT_S)
    assert scope.cancelled_caught
    assert await lasts(silence) == pytest.approx(LIMIT_S)
