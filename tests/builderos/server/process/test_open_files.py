"""A server keeps as many open files for itself as it needs, however few it may have."""

from __future__ import annotations

import resource

import pytest

from builderos.server.process.open_files import LEAST_RESERVE, connections_for
from transport.config import TransportConfig


@pytest.mark.parametrize("open_files", [64, 160, 256, 1024, 4096, 10_240, 1 << 20])
def test_connections_leave_a_reserve(open_files: int) -> None:
    connections = connections_for(10_000, open_files)
    places = TransportConfig(max_connections=connections).places
    assert 1 <= connections <= 10_000
    assert connections + places <= max(2, open_files - LEAST_RESERVE)


def test_the_config_counts_if_there_is_room() -> None:
    assert connections_for(10_000, 1 << 20) == 10_000
    assert connections_for(10_000, resource.RLIM_INFINITY) == 10_000
    assert connections_for(50, 1024) == 50
    assert connections_for(10_000, 1024) < 1024 * 3 // 4
