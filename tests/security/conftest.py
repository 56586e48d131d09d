"""The server that the tests of rights share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.guarded_server import Guarded, run_guarded


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A server with a key of each scope, for the tests of one file."""
    with run_guarded(tmp_path_factory.mktemp("g")) as server:
        yield server
