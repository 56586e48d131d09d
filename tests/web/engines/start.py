"""Starts an engine by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from playwright.sync_api import Browser

from tests.web.engines.chromium import Chromium, open_browser
from tests.web.engines.firefox import open_firefox
from tests.web.engines.page import Engine, EngineName
from tests.web.engines.webkit import open_webkit

__all__ = ["ENGINES", "Engines", "open_engine"]

ENGINES: tuple[EngineName, ...] = ("chromium", "firefox", "webkit")


@contextmanager
def open_engine(name: EngineName, folder: Path) -> Iterator[Engine]:
    """Run an engine whose files are in the folder. At the end all that it started is gone."""
    if name == "chromium":
        with open_browser() as browser:
            yield Chromium(lambda: browser)
    else:
        with (open_firefox if name == "firefox" else open_webkit)(folder) as engine:
            yield engine


class Engines:
    """The engines of many tests, each started with its first use. A context manager: at its end all are gone."""

    def __init__(self, chromium: Callable[[], Browser], new_folder: Callable[[], Path]) -> None:
        self._chromium, self._new_folder = chromium, new_folder
        self._open: dict[EngineName, tuple[Engine, ExitStack]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for name in list(self._open):
            self.drop(name)

    def get(self, name: EngineName) -> Engine:
        """Return an engine that runs."""
        if name == "chromium":
            return Chromium(self._chromium)
        if name not in self._open:
            programs = ExitStack()
            self._open[name] = programs.enter_context(open_engine(name, self._new_folder())), programs
        return self._open[name][0]

    def drop(self, name: EngineName) -> None:
        """End an engine, so that the next test gets a new one."""
        if name in self._open:
            self._open.pop(name)[1].close()
