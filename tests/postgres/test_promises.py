"""What a crash, an end and a restart of the server must not cost, with its sessions in PostgreSQL.

The tests are those of `tests/e2e/test_promises.py`, unchanged: only the server's options differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import test_promises as promises
from tests.e2e.conftest import place  # noqa: F401 - a fixture
from tests.e2e.test_promises import *  # noqa: F403
from tests.postgres.cluster import Cluster
from tests.support.server import Server, open_server


@pytest.fixture(autouse=True)
def _on_postgres(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """Let every server of these tests keep its sessions in a database of its own."""
    urls: dict[Path, str] = {}

    def opened(
        folder: Path, *, arguments: Sequence[str] = (), **how: Any
    ) -> AbstractAsyncContextManager[Server]:
        url = urls.setdefault(folder, "") or cluster.new_database()
        urls[folder] = url
        return open_server(folder, arguments=(*arguments, "--database", url), **how)

    monkeypatch.setattr(promises, "open_server", opened)
