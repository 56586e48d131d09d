"""Chromium through Playwright, whose own browsers are never fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page as PlaywrightPage

from tests.web.engines.page import LIMIT_S, Engine, Page, PageError, Part
from tests.web.engines.programs import (
    START_S,
    NewChildren,
    end_politely,
    find_program,
    opened_twice,
)
from tests.web.sizes import Size

__all__ = ["NAMES", "Chromium", "open_browser", "violation_of"]

SHELL = "chromium-headless-shell"
"""Chromium without a window's parts: it takes half the processor time. It shows no notifications."""

NAMES = (SHELL, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def open_browser(*, whole: bool = False) -> AbstractContextManager[Browser]:
    """Run a browser. One that dies or hangs at its start is ended, and started once more.

    `whole`: with what the shell leaves out.
    """
    return opened_twice(partial(_open_browser, NAMES[whole:]), "Chromium")


@contextmanager
def _open_browser(names: Sequence[str]) -> Iterator[Browser]:
    program = find_program("CHROMIUM", names, "chromium")
    driver = sync_playwright()
    ours = NewChildren()
    try:
        with ours.noted():
            playwright = driver.__enter__()
        browser = playwright.chromium.launch(
            executable_path=program, args=list(ARGUMENTS), timeout=START_S * 1000
        )
        try:
            yield browser
        finally:
            end_politely(browser.close, "Chromium")
    finally:
        # Playwright waits for the end of its driver without a limit, so the driver ends first.
        ours.kill()
        end_politely(driver.__exit__, "Playwright")


def violation_of(message: ConsoleMessage) -> str | None:
    """Return what the Content-Security-Policy had to stop, if the message reports that."""
    return message.text if message.type == "error" and "Content Security Policy" in message.text else None


class ChromiumPage(Page):
    """Made by `Chromium.open`."""

    engine = "chromium"

    def __init__(self, context: BrowserContext) -> None:
        super().__init__()
        self._context = context
        self._page: PlaywrightPage = context.new_page()
        self._page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self._page.on("console", self._note)

    def goto(self, url: str) -> None:
        self._page.goto(url)

    def reload(self) -> None:
        self._page.reload()

    def resize(self, width: int, height: int) -> None:
        self._page.set_viewport_size({"width": width, "height": height})

    def close(self) -> None:
        self._context.close()

    def type(self, text: str) -> None:
        self._page.keyboard.type(text)

    def press(self, key: str) -> None:
        self._page.keyboard.press(key)

    def set_files(self, button: Part, paths: Sequence[Path]) -> None:
        with self._page.expect_file_chooser() as choosing:
            self.click(button)
        choosing.value.set_files(list(paths))

    def names_alike(self, part: Part) -> bool:
        role: Any = part.role
        return self._page.get_by_role(role, name=part.name, exact=True).count() == self.count(part)

    def _run(self, body: str, args: Sequence[Any]) -> Any:
        try:
            return self._page.evaluate(f"async (args) => {{ {body} }}", list(args))
        except PlaywrightError as error:
            raise PageError(error.message) from error

    def _press_at(self, x: float, y: float) -> None:
        self._page.mouse.click(x, y)

    def _picture(self) -> bytes:
        return self._page.screenshot()

    def _note(self, message: ConsoleMessage) -> None:
        violation = violation_of(message)
        if violation:
            self.mistakes.append(violation)


class Chromium(Engine):
    """Made by `open_engine`."""

    name = "chromium"

    def __init__(self, browser: Callable[[], Browser]) -> None:
        self._browser = browser

    def open(self, size: Size, *, dark: bool = False) -> Page:
        context = self._browser().new_context(
            viewport={"width": size.width, "height": size.height},
            has_touch=size.touch,
            color_scheme="dark" if dark else "light",
        )
        context.set_default_timeout(LIMIT_S * 1000)
        return ChromiumPage(context)
