"""Simulated histories: everything may go wrong around a server, and the promises of PROTOCOL section 5 hold."""

from __future__ import annotations

import pytest

from tests.simulation.reporting import check_seeds, chunks


@pytest.mark.parametrize("seeds", chunks(), ids=str)
def test_promises_hold(seeds: range) -> None:
    check_seeds(seeds)
