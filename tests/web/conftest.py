"""Fixtures of the browser tests: one browser, a server for each file, new pages for each test."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.shared_server import Shared, run_shared
from tests.web.browser import Restarted, Site, Workers
from tests.web.engines.page import Engine
from tests.web.engines.start import ENGINES, Engines
from tests.web.limits import at_most
from tests.web.visitors import Visitors

TEST_S = 180.0
"""The longest time of a test, and of what is set up for it. The longest test takes a sixth of it."""


HEARTBEAT_S = 1.0
"""A page takes a connection for lost after two of these. Under load a page may stand still for half a second."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """End a set-up that hangs."""
    with at_most(TEST_S, f"what {item.name} needs"):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """End a test that hangs."""
    with at_most(TEST_S, item.name):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End what hangs at the end."""
    with at_most(TEST_S, f"the end of {item.name}"):
        return (yield)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Restarted]:
    """The browser of all files here."""
    with Restarted() as chromium:
        yield chromium


@pytest.fixture
def browser(chromium: Restarted) -> Browser:
    """A browser, without any pages of other tests."""
    return chromium.browser()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """A server for the tests of one file."""
    with run_shared(tmp_path_factory.mktemp("web"), heartbeat_s=HEARTBEAT_S) as server:
        yield server


@pytest.fixture
def workers() -> Workers:
    """Whether pages have a service worker. A file whose tests are about it says `allow`."""
    return "block"


@pytest.fixture
def site(server: Shared, browser: Browser, chromium: Restarted, workers: Workers) -> Iterator[Site]:
    """Pages of this test. No script of any of them may fail, and no policy may have had to stop one."""
    site = Site(server, browser, workers)
    yield site
    with chromium.ended_if_it_hangs():
        mistakes = site.close_pages()
    assert mistakes == []


@pytest.fixture
def sid(request: pytest.FixtureRequest) -> str:
    """A session id of this test."""
    name: str = request.node.name
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:100]


@pytest.fixture(scope="package")
def engines(chromium: Restarted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """The engines of all files here."""
    with Engines(chromium.browser, lambda: tmp_path_factory.mktemp("engine")) as engines:
        yield engines


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, engines: Engines) -> Engine:
    """Each engine in turn."""
    return engines.get(request.param)


@pytest.fixture
def visitors(server: Shared, engine: Engine, engines: Engines, chromium: Restarted) -> Iterator[Visitors]:
    """People who come by the engine in this test. No script of their pages may fail."""
    visitors = Visitors(server, engine)
    try:
        yield visitors
    finally:
        try:
            with chromium.ended_if_it_hangs():
                mistakes = visitors.leave()
        except Exception:
            engines.drop(engine.name)
            raise
    assert mistakes == []
