"""What stands between Chromium and its push service in a test: subscriptions, and the delivery of what was pushed.

Nothing here decrypts with the server's library: the browser's own WebCrypto opens each card (RFC 8291).
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import attrs
from playwright.sync_api import BrowserContext, CDPSession, Page

__all__ = ["Receiver", "Worker"]

_SCRIPT = (Path(__file__).parent / "receiver.js").read_text().partition("\n")[2].rstrip().rstrip(";")


@attrs.define(eq=False)
class Receiver:
    """One browser's end of Web Push. `helper`: a page that has its private key."""

    endpoint: str
    helper: Page
    keys: dict[str, str]

    @classmethod
    def make(cls, context: BrowserContext, origin: str, endpoint: str) -> Receiver:
        """Make the keys, on a page of this origin that runs nothing of the app."""
        helper = context.new_page()
        helper.goto(f"{origin}/manifest.webmanifest")
        return cls(endpoint, helper, helper.evaluate(f"() => {_SCRIPT}.make()"))

    def subscribe_in(self, context: BrowserContext) -> None:
        """Let pages of this browser subscribe: headless Chromium reaches no push service."""
        fixed = {"endpoint": self.endpoint, "keys": self.keys}
        context.add_init_script(f"{_SCRIPT}.subscribe({json.dumps(fixed)})")

    @property
    def subscription(self) -> dict[str, Any]:
        """What a browser gives its page."""
        return {"endpoint": self.endpoint, "keys": self.keys}

    def open(self, body: bytes) -> dict[str, Any]:
        """Decrypt a card."""
        found: dict[str, Any] = json.loads(self.text(body))
        return found

    def text(self, body: bytes) -> str:
        """Decrypt a card; return its text."""
        return str(self.helper.evaluate(f"(text) => {_SCRIPT}.open(text)", b64encode(body).decode()))


@attrs.define(eq=False)
class Worker:
    """The service worker of a site, reached from a page that is not of the site."""

    cdp: CDPSession
    origin: str
    registration: str

    @classmethod
    def of(cls, page: Page, origin: str) -> Worker:
        """Find it from this page."""
        cdp = page.context.new_cdp_session(page)
        found: list[dict[str, Any]] = []
        cdp.on("ServiceWorker.workerRegistrationUpdated", lambda event: found.extend(event["registrations"]))
        cdp.send("ServiceWorker.enable")
        for _ in range(1500):
            if any(one["scopeURL"].startswith(origin) for one in found):
                break
            page.wait_for_timeout(20)
        name = next(one["registrationId"] for one in found if one["scopeURL"].startswith(origin))
        return cls(cdp, origin, name)

    def deliver(self, text: str) -> None:
        """Do as a push service with a message."""
        where = {"origin": self.origin, "registrationId": self.registration}
        self.cdp.send("ServiceWorker.deliverPushMessage", {**where, "data": text})
