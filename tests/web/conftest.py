"""Fixtures of the browser tests: one browser and one server a file, a fresh set of pages a test."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.world import Shared, run_shared
from tests.web.engines.page import Engine
from tests.web.engines.start import ENGINES, open_engine
from tests.web.visitors import Visitors
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


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Each engine in turn, for the tests of one file."""
    with open_engine(request.param, tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@pytest.fixture
def visitors(server: Shared, engine: Engine) -> Iterator[Visitors]:
    """People who come by the engine in this test. No script of their pages may fail."""
    visitors = Visitors(server, engine)
    try:
        yield visitors
    finally:
        mistakes = visitors.leave()
    assert mistakes == []
