"""Python's search for cycles while a server runs."""

from __future__ import annotations

import gc

from builderos.server import server


def test_it_is_rare_while_the_server_runs_only() -> None:
    before = gc.get_threshold()
    with server._rare_collections():
        assert gc.get_threshold() == (server.COLLECT_AFTER, *before[1:])
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0
