"""The worker's handler alone: with a network that never answers, each push still ends with a card."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.browser import Restarted

SOURCE = (Path(__file__).parents[3] / "transport/web/js/cards.js").read_text()

SHOWN_BEFORE = "await show(title, { ...rest, data, actions });"
REPORTED = 'if (data.alert_id && !rest.silent) await report(data, "shown");'

PUSH = """async ([source, text]) => {
  const shown = [], asked = [], handlers = {};
  const registration = {
    getNotifications: async () => [],
    showNotification: async (title) => void shown.push(title),
  };
  const worker = {
    registration, navigator: {}, clients: {},
    addEventListener: (name, handler) => (handlers[name] = handler),
  };
  const soon = (request, result) => (queueMicrotask(() => ((request.result = result), request.onsuccess())), request);
  const store = { get: () => soon({}, { key: "k", device: "d" }) };
  const base = { transaction: () => ({ objectStore: () => store }), close() {} };
  const database = { open: () => soon({}, base) };
  const never = (path) => (asked.push(path), new Promise(() => {}));
  new Function("self", "fetch", "indexedDB", source)(worker, never, database);
  handlers.push({ data: { text: () => text }, waitUntil: () => {} });
  await new Promise((resolve) => setTimeout(resolve));
  while (!asked.length && !shown.length) await new Promise((resolve) => setTimeout(resolve));
  await new Promise((resolve) => setTimeout(resolve));
  return shown;
}"""

CARD = '{"notification": {"title": "Trip", "tag": "a"}, "data": {"alert_id": "a", "buttons": []}}'


@pytest.fixture
def browser(chromium: Restarted) -> Browser:
    return chromium.browser()


def shown(browser: Browser, source: str, text: str) -> list[str]:
    """Return the titles of the cards that a push shows."""
    page = browser.new_page()
    try:
        found: list[str] = page.evaluate(PUSH, [source, text])
    finally:
        page.close()
    return found


@pytest.mark.parametrize(("text", "title"), [(CARD, "Trip"), ("not JSON", "BuilderOS")])
def test_a_card_needs_no_network(browser: Browser, text: str, title: str) -> None:
    assert shown(browser, SOURCE, text) == [title]


def test_a_worker_that_asks_first_is_found(browser: Browser) -> None:
    assert SOURCE.count(SHOWN_BEFORE) == SOURCE.count(REPORTED) == 1
    planted = SOURCE.replace(REPORTED, "").replace(SHOWN_BEFORE, f"{REPORTED} {SHOWN_BEFORE}")
    assert shown(browser, planted, CARD) == []
