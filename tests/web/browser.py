"""A server, a browser, and pages in it, addressed by role and name only (PROTOCOL section 7)."""

from __future__ import annotations

import gc
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Literal, Self
from urllib.parse import quote

import attrs
import httpx
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    expect,
)

from tests.e2e.shared_server import Shared
from tests.web.engines.chromium import open_browser as open_chromium
from tests.web.engines.chromium import violation_of
from tests.web.limits import at_most
from tests.web.phone import Phone, make_session, open_phone
from tests.web.sizes import DESKTOP, PHONE, SCREENSHOTS, TABLET, Size

__all__ = [
    "DESKTOP",
    "PHONE",
    "SCREENSHOTS",
    "TABLET",
    "Restarted",
    "Screen",
    "Site",
    "Size",
    "Workers",
    "open_browser",
]

Workers = Literal["allow", "block"]

WAIT_MS = 30_000
"""How long a page may take for what must come; it takes some milliseconds where nothing else runs."""

CLOSE_S = 30.0
"""How long the pages of a test may take to close."""


@contextmanager
def open_browser(*, whole: bool = False) -> Iterator[Browser]:
    """Run a browser, the whole one if its notifications are needed."""
    expect.set_options(timeout=WAIT_MS)
    with open_chromium(whole=whole) as browser:
        yield browser


class Restarted:
    """A browser that is started with its first use, and again if it is gone."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._browser: Browser | None = None
        self._is_whole = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser, if it runs: a process has room for one Playwright."""
        self._open.close()
        self._browser = None

    def browser(self, *, whole: bool = False) -> Browser:
        """Return a browser that runs, the whole one if its notifications are needed."""
        if self._browser is None or not self._browser.is_connected() or self._is_whole != whole:
            self.close()
            self._browser, self._is_whole = self._open.enter_context(open_browser(whole=whole)), whole
        return self._browser

    @contextmanager
    def ended_if_it_hangs(self) -> Iterator[None]:
        """End the browser if the block takes too long, so that the next test gets another one."""
        try:
            with at_most(CLOSE_S, "closing pages"):
                yield
        except Exception:
            self.close()
            with warnings.catch_warnings():
                # What was on its way to the browser is not a fault of the next test.
                warnings.simplefilter("ignore")
                gc.collect()
            raise


@attrs.define(eq=False)
class Screen:
    """One page, and what a person does with it.

    Attributes:
        mistakes: errors of scripts, and what the Content-Security-Policy stopped.
    """

    page: Page
    url: str
    mistakes: list[str] = attrs.field(factory=list)

    # ---- where things are ----

    @property
    def context(self) -> BrowserContext:
        return self.page.context

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log", name="Conversation", exact=True)

    @property
    def articles(self) -> Locator:
        return self.log.get_by_role("article")

    @property
    def answers(self) -> Locator:
        return self.log.locator("article[data-role=assistant], [role=article][data-role=assistant]")

    @property
    def questions(self) -> Locator:
        return self.log.locator("article[data-role=user], [role=article][data-role=user]")

    @property
    def box(self) -> Locator:
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def status(self) -> Locator:
        return self.page.get_by_role("status", name="Connection", exact=True)

    @property
    def sessions(self) -> Locator:
        return self.page.get_by_role("navigation", name="Sessions", exact=True)

    @property
    def permission(self) -> Locator:
        return self.page.get_by_role("alertdialog", name="Permission", exact=True)

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    def dialog(self, name: str) -> Locator:
        return self.page.get_by_role("dialog", name=name, exact=True)

    def link_to(self, session_id: str) -> Locator:
        return self.sessions.locator(f'a[href="#/s/{session_id}"]')

    # ---- what a person does ----

    def go(self, fragment: str = "#/") -> None:
        """Open an address of this page again."""
        self.page.goto(f"{self.url}/{fragment}")

    def open(self, session_id: str) -> None:
        """Go to a session."""
        self.go(f"#/s/{session_id}")
        expect(self.status).to_have_text("live")
        expect(self.log).to_be_visible()

    def send(self, text: str) -> None:
        self.box.fill(text)
        self.button("Send").click()

    def ask(self, text: str, answer: str | re.Pattern[str]) -> None:
        """Send, and wait for the last article to hold the answer."""
        self.send(text)
        expect(self.answers.last).to_contain_text(answer)

    def wait_live(self) -> None:
        expect(self.status).to_have_text("live")

    def wait_worker(self) -> None:
        """Wait until the service worker is active and has the app."""
        self.page.wait_for_function("() => navigator.serviceWorker.ready.then(() => true)")

    def shoot(self, name: str) -> None:
        """Keep a picture of the page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def texts(self) -> list[str]:
        """Return the texts of all articles."""
        return [text.strip() for text in self.articles.all_inner_texts()]


@attrs.define(eq=False)
class Site:
    """A server and a browser.

    Attributes:
        workers: whether its pages have a service worker, which loads the whole client a second time.
    """

    server: Shared
    browser: Browser
    workers: Workers = "allow"
    _contexts: list[BrowserContext] = attrs.field(factory=list)
    _screens: list[Screen] = attrs.field(factory=list)

    @property
    def key(self) -> str:
        return self.server.key

    def profile(self, size: Size = PHONE, **more: Any) -> BrowserContext:
        """Return a browser profile of its own: nobody has signed in."""
        more.setdefault("service_workers", self.workers)
        context = self.browser.new_context(
            viewport={"width": size.width, "height": size.height}, has_touch=size.touch, **more
        )
        context.set_default_timeout(WAIT_MS)
        self._contexts.append(context)
        return context

    def screen(
        self,
        profile: BrowserContext | None = None,
        *,
        url: str | None = None,
        size: Size = PHONE,
        **more: Any,
    ) -> Screen:
        """Return an empty page."""
        page = (profile or self.profile(size, **more)).new_page()
        screen = Screen(page, url or self.server.url)
        page.on("pageerror", lambda error: screen.mistakes.append(str(error)))
        page.on("console", lambda message: _note_violation(screen, message))
        self._screens.append(screen)
        return screen

    def signed_in(
        self,
        profile: BrowserContext | None = None,
        *,
        key: str | None = None,
        to: str = "",
        **more: Any,
    ) -> Screen:
        """Return a page that is signed in, at the list or at the session `to`."""
        screen = self.screen(profile, **more)
        screen.go(f"#key={quote(key or self.key)}")
        expect(screen.sessions).to_be_visible()
        if to:
            screen.open(to)
        return screen

    def phone(self) -> AbstractContextManager[Phone]:
        """Return a device beside the browser."""
        return open_phone(self.server.url, self.key)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url, headers={"X-API-Key": self.key}, timeout=30)

    def make(self, session_id: str, *messages: str, agent: str = "echo") -> None:
        """Make a session with these turns in it."""
        make_session(self.server, session_id, *messages, agent=agent)

    def close_pages(self) -> list[str]:
        """End all profiles; return the mistakes of their pages."""
        mistakes = [mistake for screen in self._screens for mistake in screen.mistakes]
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self._screens.clear()
        return mistakes


def _note_violation(screen: Screen, message: ConsoleMessage) -> None:
    if violation := violation_of(message):
        screen.mistakes.append(violation)
