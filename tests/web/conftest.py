"""Fixtures of the browser tests: one browser and one server a file, a fresh set of pages a test."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.world import Shared, run_shared
from tests.web.world import Site, open_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of one file."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A server for the tests of one file."""
    with run_shared(tmp_path_factory.mktemp("web")) as server:
        yield server


@pytest.fixture
def site(server: Shared, browser: Browser) -> Iterator[Site]:
    """Pages of this test. No script of any of them may fail, and no policy may have had to stop one."""
    site = Site(server, browser)
    yield site
    assert site.close_pages() == []


@pytest.fixture
def sid(request: pytest.FixtureRequest) -> str:
    """A session id of this test."""
    name: str = request.node.name
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]
