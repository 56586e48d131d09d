"""A few rounds of random acts at the desk and on a phone. See `desk_interleave`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.desk_interleave import run_rounds


@pytest.mark.parametrize(("agent", "seeds"), [("claude", (3, 4)), ("codex", (3, 4))])
async def test_no_word_of_either_side_is_missing_for_the_agent(
    place: Path, agent: str, seeds: tuple[int, ...]
) -> None:
    await run_rounds(place, seeds, agent)
