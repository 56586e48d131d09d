"""Journeys in each engine around the conversation: files, a cut cable, dark, details, narrow and wide screens."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.engines.page import Part
from tests.web.sizes import DESKTOP, PHONE
from tests.web.visitors import (
    ANSWER,
    ARTICLE,
    BOX,
    LOG,
    PERMISSION,
    QUESTION,
    STATUS,
    Visitor,
    Visitors,
    button,
    link_to,
)
from tests.web.wire import Wire, open_wire

AWAY = ["reconnecting", "offline"]
"""Which of them depends on whether the engine notices that the network is gone; with a cut cable few do."""

LONG = "unbroken" * 40


@pytest.fixture
def wire(visitors: Visitors) -> Iterator[Wire]:
    with open_wire(visitors.server.url) as wire:
        yield wire


def picture(path: Path) -> Path:
    """Write a small red PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\xd0\x30\x30" * 40 for _ in range(30)))
    head = struct.pack(">IIBBBBB", 40, 30, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_text_and_picture_go_with_a_message(visitors: Visitors, sid: str, tmp_path: Path) -> None:
    visitors.make(sid)
    visitor = visitors.signed_in(sid)
    text = tmp_path / "shopping list.txt"
    text.write_text("quinces")
    visitor.attach_files(text, picture(tmp_path / "red.png"))
    names = "['shopping list.txt', 'red.png'].every((name) => document.body.innerText.includes(name))"
    visitor.page.wait_for(names, what="both names are shown before the message is sent")
    visitor.page.picture("journey-6-files-chosen")
    visitor.ask("look at this", "echo: look at this")
    visitor.page.expect(QUESTION, text="shopping list.txt")
    visitor.page.expect(QUESTION, text="red.png")
    visitor.page.picture("journey-6-files-sent")
    files = visitors.messages(sid)[0]["attachments"]
    assert [one["filename"] for one in files] == ["shopping list.txt", "red.png"]
    assert [one["size"] for one in files] == [7, (tmp_path / "red.png").stat().st_size]


def test_cut_cable_and_reload_deliver_once(visitors: Visitors, sid: str, wire: Wire) -> None:
    visitors.make(sid, "before")
    visitor = visitors.signed_in(sid, url=wire.url)
    page = visitor.page
    page.expect(ANSWER, text="echo: before")
    wait_cached(visitor)
    wire.cut()
    page.expect(STATUS, whole=AWAY)
    visitor.send("written offline")
    page.expect(QUESTION, text="waiting to send")
    page.reload()
    page.expect(STATUS, whole=AWAY)
    page.expect(QUESTION, text="written offline")
    page.expect(QUESTION, text="waiting to send")
    page.expect(Part("article", text="echo: before", within=LOG))
    page.picture("journey-7-offline")
    wire.mend()
    visitor.wait_live()
    page.expect(ANSWER, text="echo: written offline")
    page.expect(LOG, lacks="waiting to send")
    assert visitors.asked(sid) == ["before", "written offline"]
    assert len(page.texts(QUESTION)) == 2


def wait_cached(visitor: Visitor) -> None:
    """Wait until the service worker is active and has the page."""
    visitor.wait_worker()
    has = "(await Promise.all(['/', '/index.html'].map((path) => caches.match(path)))).some(Boolean)"
    visitor.page.wait_for(has, what="the worker has the page")


def test_dark_page_is_dark(visitors: Visitors, sid: str) -> None:
    visitors.make(sid, "**Quinces**, `flour` and *butter*", "/task weigh the flour")
    light, dark = visitors.signed_in(sid), visitors.signed_in(sid, dark=True)
    for visitor, is_dark in ((light, False), (dark, True)):
        visitor.page.expect(ANSWER, text="done")
        visitor.page.picture(f"journey-8-{'dark' if is_dark else 'light'}")
        colour = visitor.page.evaluate(GROUND)
        assert (max(colour) < 100) == is_dark, colour


GROUND = """
    for (let node = document.elementFromPoint(3, innerHeight / 2); node; node = node.parentElement) {
        const [red, green, blue, alpha = 1] = getComputedStyle(node).backgroundColor.match(/[\\d.]+/g).map(Number);
        if (alpha) return [red, green, blue];
    }
"""
"""The colour of the page at its left edge."""


def test_details_close_with_escape(visitors: Visitors, sid: str) -> None:
    """The contract leaves the names of the details open: the button and the dialog are `Details`."""
    visitors.make(sid, "hello")
    visitor = visitors.signed_in(sid)
    visitor.page.expect(ANSWER, text="echo: hello")
    details = Part("dialog", "Details")
    visitor.page.click(button("Details"))
    visitor.page.expect(details, text="echo")
    visitor.page.picture("journey-9-details")
    visitor.page.press("Escape")
    visitor.page.expect(details, count=0)
    visitor.page.expect(BOX)


def test_nothing_scrolls_sideways(visitors: Visitors, sid: str) -> None:
    visitors.make(sid, "**Quinces**, `flour` and *butter*", LONG, "/task weigh the flour", "/words 120")
    with visitors.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet-" + "x" * 80)
        phone.say("rename", session_id=sid, title="Shopping for the weekend " * 7)
        phone.wait_for("session_updated")
    visitor = visitors.signed_in()
    page = visitor.page
    page.expect(link_to(sid), text="Shopping")
    check_widths(visitor, "list")
    visitor.open(sid)
    page.expect(ANSWER, text="w119")
    check_widths(visitor, "conversation")
    visitor.send(f"/ask {LONG}")
    page.expect(PERMISSION)
    check_widths(visitor, "permission")
    page.click(button("Deny", PERMISSION))
    page.expect(PERMISSION, count=0)


def check_widths(visitor: Visitor, name: str) -> None:
    """See that nothing of the page is to the right of its edge, at every width."""
    page = visitor.page
    for width in (320, 390, 820, 1280):
        page.resize(width, 844 if width < 800 else 1000)
        page.picture(f"journey-width-{width}-{name}")
        wide = page.evaluate("return document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} at {width}: the page scrolls sideways by {wide} pixels"
        assert page.evaluate(OUTSIDE) == [], f"{name} at {width}"
    page.resize(PHONE.width, PHONE.height)


OUTSIDE = """
    const scrolls = (node) => {
        for (let outer = node.parentElement; outer; outer = outer.parentElement) {
            const may = ['auto', 'scroll'].includes(getComputedStyle(outer).overflowX);
            if (may && outer.scrollWidth > outer.clientWidth) return true;
        }
        return false;
    };
    return [...document.querySelectorAll('article, button, input, textarea, a[href], h1, h2, pre, [role]')]
        .filter((node) => isShown(node) && !scrolls(node) && node.getBoundingClientRect().right > innerWidth + 1)
        .map((node) => `${node.tagName} ${node.className} ${node.getBoundingClientRect().right}`)
"""
"""What is shown and reaches over the right edge, where no scrolling of its own leads to it."""


def test_names_are_those_of_the_engine(visitors: Visitors, sid: str) -> None:
    """The engine's own accessibility agrees with what the journeys go by."""
    visitors.make(sid, "hello")
    visitor = visitors.signed_in(sid, DESKTOP)
    page = visitor.page
    page.expect(ANSWER, text="echo: hello")
    parts = [
        Part("log", "Conversation"),
        Part("textbox", "Message"),
        Part("button", "Send"),
        Part("button", "Attach file"),
        Part("status", "Connection"),
        Part("navigation", "Sessions"),
        Part("button", "New session"),
    ]
    for part in parts:
        page.expect(part)
    assert [part for part in parts if not page.names_alike(part)] == []
    visitor.send("/ask please")
    page.expect(PERMISSION)
    parts = [Part("alertdialog", "Permission"), Part("button", "Allow"), Part("button", "Deny")]
    assert [part for part in parts if not page.names_alike(part)] == []
    page.click(button("Allow", PERMISSION))
    page.expect(PERMISSION, count=0)
    assert page.count(ARTICLE) == 4
