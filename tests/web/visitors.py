"""People at the web client, each with a browser profile of their own, in whatever engine a test is given."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import httpx

from tests.e2e.shared_server import Shared
from tests.web.engines.page import Engine, Page, Part
from tests.web.phone import Phone, make_session, open_phone
from tests.web.sizes import PHONE, Size

__all__ = [
    "ALERT",
    "ANSWER",
    "ARTICLE",
    "BOX",
    "KEY",
    "LOG",
    "PERMISSION",
    "QUESTION",
    "SEARCH",
    "SESSIONS",
    "STATUS",
    "Visitor",
    "Visitors",
    "button",
    "link_to",
]

KEY = Part("textbox", "Key")
ALERT = Part("alert")
SESSIONS = Part("navigation", "Sessions")
SEARCH = Part("searchbox", "Search")
LOG = Part("log", "Conversation")
ARTICLE = Part("article", within=LOG)
QUESTION = Part("article", data="user", within=LOG)
ANSWER = Part("article", data="assistant", within=LOG)
BOX = Part("textbox", "Message")
STATUS = Part("status", "Connection")
PERMISSION = Part("alertdialog", "Permission")


def button(name: str, within: Part | None = None) -> Part:
    """Return the button of this name."""
    return Part("button", name, within=within)


def link_to(session_id: str) -> Part:
    """Return a session's link in the list."""
    return Part("link", href=f"#/s/{session_id}", within=SESSIONS)


@attrs.frozen
class Visitor:
    """One device of a person: a page, and what they do with it.

    Attributes:
        url: where they find the server.
    """

    page: Page
    url: str

    def go(self, fragment: str = "#/") -> None:
        """Open an address of the client."""
        self.page.goto(f"{self.url}/{fragment}")

    def sign_in(self, key: str) -> None:
        """Sign in by a link."""
        self.go(f"#key={quote(key)}")
        self.page.expect(SESSIONS)

    def open(self, session_id: str) -> None:
        """Go to a session and wait until it is live."""
        self.go(f"#/s/{session_id}")
        self.page.expect(LOG)
        self.wait_live()

    def wait_live(self) -> None:
        """Wait until the status says so."""
        self.page.expect(STATUS, whole=["live"])

    def send(self, text: str) -> None:
        """Type a message and send it."""
        self.page.fill(BOX, text)
        self.page.click(button("Send"))

    def ask(self, text: str, answer: str) -> None:
        """Send, and wait until the newest answer has this text."""
        self.send(text)
        self.page.expect(ANSWER, text=answer)

    def attach_files(self, *paths: Path) -> None:
        """Choose files for the next message."""
        self.page.set_files(button("Attach file"), paths)

    def wait_worker(self) -> None:
        """Wait until the service worker is active."""
        self.page.wait_for("(await navigator.serviceWorker.ready).active", what="a service worker is active")


@attrs.define(eq=False)
class Visitors:
    """A server, and the people who come to it by one engine."""

    server: Shared
    engine: Engine
    _all: list[Visitor] = attrs.field(factory=list)

    @property
    def key(self) -> str:
        """The first device's key."""
        return self.server.key

    def come(self, size: Size = PHONE, *, url: str | None = None, dark: bool = False) -> Visitor:
        """Return somebody with a new browser profile and an empty page."""
        visitor = Visitor(self.engine.open(size, dark=dark), url or self.server.url)
        self._all.append(visitor)
        return visitor

    def signed_in(self, to: str = "", size: Size = PHONE, **more: Any) -> Visitor:
        """Return somebody who is signed in, at the list or at the session `to`."""
        visitor = self.come(size, **more)
        visitor.sign_in(self.key)
        if to:
            visitor.open(to)
        return visitor

    def make(self, session_id: str, *messages: str) -> None:
        """Make a session with these turns in it."""
        make_session(self.server, session_id, *messages)

    def phone(self) -> AbstractContextManager[Phone]:
        """Return a device that is not a browser."""
        return open_phone(self.server.url, self.server.key)

    def messages(self, session_id: str) -> list[dict[str, Any]]:
        """Return what the server has of a session."""
        url = f"{self.server.url}/api/sessions/{session_id}/messages"
        answer = httpx.get(url, params={"limit": 500}, headers={"X-API-Key": self.key}, timeout=30)
        found: list[dict[str, Any]] = answer.json()["messages"]
        return found

    def asked(self, session_id: str) -> list[str]:
        """Return what the server has of the person's messages."""
        return [one["content"] for one in self.messages(session_id) if one["role"] == "user"]

    def leave(self) -> list[str]:
        """End all pages; return the mistakes of their scripts."""
        for visitor in self._all:
            visitor.page.close()
        mistakes = [mistake for visitor in self._all for mistake in visitor.page.mistakes]
        self._all.clear()
        return mistakes
