"""Bugs that are planted on purpose are found, each within so many seeds: what finds nothing proves nothing."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS, plant
from tests.simulation.reporting import first_wrong

WITHIN = 800
"""Seeds that may be needed. Most are found within a hundred."""


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    with plant(name):
        wrong = first_wrong(range(WITHIN))
    assert wrong is not None
    assert first_wrong([wrong.plan.seed]) is None, "it is the bug that is found"
