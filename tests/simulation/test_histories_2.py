"""Whatever goes wrong around a server, what PROTOCOL section 5 promises holds: part 2 of the simulated histories."""

from __future__ import annotations

import pytest

from tests.simulation.reporting import check_seeds, chunks


@pytest.mark.parametrize("seeds", chunks(1), ids=str)
def test_the_promises_hold(seeds: range) -> None:
    check_seeds(seeds)
