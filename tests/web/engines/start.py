"""Starts an engine by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.web.engines.chromium import Chromium, open_browser
from tests.web.engines.firefox import open_firefox
from tests.web.engines.page import Engine, EngineName
from tests.web.engines.webkit import open_webkit

__all__ = ["ENGINES", "open_engine"]

ENGINES: tuple[EngineName, ...] = ("chromium", "firefox", "webkit")


@contextmanager
def open_engine(name: EngineName, folder: Path) -> Iterator[Engine]:
    """Run an engine whose files are in the folder. At the end all that it started is gone."""
    if name == "chromium":
        with open_browser() as browser:
            yield Chromium(browser)
    else:
        with (open_firefox if name == "firefox" else open_webkit)(folder) as engine:
            yield engine
