"""Fixtures of the black-box tests: the shared server, and a session id that no other test has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.shared_server import Shared, run_shared


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A server that is up for the whole run."""
    with run_shared(tmp_path_factory.mktemp("shared")) as server:
        yield server


@pytest.fixture
def sid(request: pytest.FixtureRequest) -> str:
    """A session id of this test."""
    name: str = request.node.name
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a server of the test's own; its path is short enough for sockets to lie below it."""
    return tmp_path_factory.mktemp("p")
