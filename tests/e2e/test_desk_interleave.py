"""A few rounds of random acts at the desk and on a phone. See `desk_interleave`."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.desk_interleave import run_rounds


async def test_no_word_of_either_side_is_missing_from_what_the_agent_sees(place: Path) -> None:
    await run_rounds(place, count=2, seed=3)
