"""How long each task of a page's main thread had the processor, by Chromium's own trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page

__all__ = ["traced"]


@contextmanager
def traced(page: Page) -> Iterator[list[float]]:
    """Give a list; at the end of the block it has the milliseconds of every task of the page's main thread."""
    browser = page.context.browser
    assert browser is not None
    tasks: list[float] = []
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline", "__metadata"])
    try:
        yield tasks
    finally:
        events: list[dict[str, Any]] = json.loads(browser.stop_tracing())["traceEvents"]
    mains = {
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    tasks += [
        one["tdur"] / 1000
        for one in events
        if one["name"] == "RunTask" and "tdur" in one and (one["pid"], one["tid"]) in mains
    ]
    assert tasks, "the trace has no tasks"
