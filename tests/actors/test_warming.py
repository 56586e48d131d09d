"""What may be started before a message: few at once, seldom for the same session, nothing the machine cannot spare."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from actors.warming import AGAIN_S, HELD_S, WarmPlaces


async def test_a_session_is_started_once_a_minute(autojump_clock: MockClock) -> None:
    warming = WarmPlaces()
    assert await warming.may("a", starts=True)
    warming.release("a")
    assert not await warming.may("a", starts=True)
    assert await warming.may("b", starts=True)
    await trio.sleep(AGAIN_S)
    assert await warming.may("a", starts=True)


async def test_a_place_comes_back_even_if_nobody_gives_it_back(autojump_clock: MockClock) -> None:
    warming = WarmPlaces(limit=1)
    assert await warming.may("a", starts=True)
    assert not await warming.may("b", starts=True)
    assert await warming.may("c", starts=False), "a hub that runs anyway takes no place"
    await trio.sleep(HELD_S)
    assert await warming.may("b", starts=True)


async def test_what_the_machine_cannot_spare_takes_no_place() -> None:
    async def no() -> bool:
        await trio.lowlevel.checkpoint()
        return False

    warming = WarmPlaces(limit=1, affords=no)
    assert not await warming.may("a", starts=True)
    warming.affords = WarmPlaces().affords
    assert await warming.may("b", starts=True)


async def test_a_limit_of_zero_turns_it_off() -> None:
    assert not await WarmPlaces(limit=0).may("a", starts=False)
