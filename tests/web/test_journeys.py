"""Journeys through the client in each engine: signing in, a turn and all that it asks of a person, two devices.

They go by the roles and names of the contract only. What an engine cannot do is in `engines/differences.py`.
"""

from __future__ import annotations

import re

from tests.web.engines.page import Part
from tests.web.kept import STORED
from tests.web.sizes import DESKTOP
from tests.web.visitors import (
    ALERT,
    ANSWER,
    ARTICLE,
    BOX,
    KEY,
    LOG,
    PERMISSION,
    QUESTION,
    SEARCH,
    SESSIONS,
    Visitors,
    button,
    link_to,
)

WORDS = re.compile(r"\bw(\d+)\b")


def words_of(text: str) -> list[int]:
    return [int(word) for word in WORDS.findall(text)]


def test_wrong_key_then_sign_in_and_out(visitors: Visitors) -> None:
    visitor = visitors.come()
    page = visitor.page
    visitor.go("")
    page.fill(KEY, "not-the-key")
    page.click(button("Sign in"))
    page.expect(ALERT, filled=True)
    page.expect(KEY)
    page.fill(KEY, visitors.key)
    page.picture("journey-1-sign-in")
    page.press("Enter")
    page.expect(SESSIONS)
    visitor.wait_live()
    assert visitors.key not in page.address
    assert visitors.key in page.evaluate(f"return await ({STORED})()")
    page.click(button("Sign out"))
    page.expect(KEY)
    assert visitors.key not in page.evaluate(f"return await ({STORED})()")
    page.reload()
    page.expect(KEY)


def test_create_a_session_and_stream(visitors: Visitors) -> None:
    visitor = visitors.signed_in()
    page = visitor.page
    dialog = Part("dialog", "New session")
    page.click(button("New session"))
    page.expect(dialog)
    page.picture("journey-2-new-session")
    page.press("Escape")
    page.expect(dialog, count=0)
    page.expect(button("New session"), focused=True)
    page.click(button("New session"))
    page.choose(Part("combobox", "Agent", within=dialog), "echo")
    page.click(button("Create", dialog))
    page.wait_for("/#\\/s\\/[\\w.-]+$/.test(location.href)", what="the new session's address")
    visitor.wait_live()
    page.evaluate(NOTE_GROWTH)
    visitor.send("/words 300 10")
    page.expect(ANSWER, text="w299")
    page.expect(button("Stop"), count=0)
    assert words_of(page.texts(ANSWER)[0]) == list(range(300))
    assert len(page.texts(ARTICLE)) == 2
    assert any(0 < count < 300 for count in page.evaluate("return [...window.grown]")), "it was seen to grow"


NOTE_GROWTH = """
    window.grown = new Set();
    const look = () => {
        const text = [...document.querySelectorAll("[data-role=assistant]")].at(-1)?.textContent ?? "";
        window.grown.add((text.match(/\\bw\\d+/g) ?? []).length);
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
"""
"""Notes how many words the newest answer had at each change of the page."""


def test_permission_holds_focus_and_tab(visitors: Visitors, sid: str) -> None:
    visitors.make(sid)
    one, two = visitors.signed_in(sid), visitors.signed_in(sid, DESKTOP)
    one.send("/ask may I")
    for visitor in (one, two):
        visitor.page.expect(PERMISSION, text="practice")
        visitor.page.expect(PERMISSION, text="may I")
        for name in ("Allow", "Deny", "Allow for this session"):
            visitor.page.expect(button(name, PERMISSION))
    page = one.page
    page.expect(PERMISSION, focused=True)
    page.picture("journey-3-permission")
    two.page.picture("journey-3-permission-wide")
    for key in ("Tab",) * 7 + ("Shift+Tab",) * 7:
        page.press(key)
        page.expect(PERMISSION, focused=True, limit_s=1)
    two.page.click(button("Allow", PERMISSION))
    for visitor in (one, two):
        visitor.page.expect(PERMISSION, count=0)
        visitor.page.expect(LOG, text="Allowed by")
        visitor.page.expect(ANSWER, text="allowed")


def test_stop_ends_a_turn(visitors: Visitors, sid: str) -> None:
    visitors.make(sid)
    visitor = visitors.signed_in(sid)
    visitor.page.expect(button("Stop"), count=0)
    visitor.send("/words 100000 20")
    visitor.page.expect(ANSWER, text="w5 ")
    visitor.page.click(button("Stop"))
    visitor.page.expect(button("Stop"), count=0)
    assert visitors.messages(sid)[-1]["status"] == "interrupted"


def test_queue_of_two_and_take_back(visitors: Visitors, sid: str) -> None:
    visitors.make(sid)
    visitor = visitors.signed_in(sid)
    page = visitor.page
    first = Part("article", text="first in line", data="user", within=LOG)
    second = Part("article", text="second in line", data="user", within=LOG)
    visitor.send("/hang")
    page.expect(button("Stop"))
    for text, part in (("first in line", first), ("second in line", second)):
        visitor.send(text)
        page.expect(part, text="queued")
    page.picture("journey-4-queue")
    page.click(button("Take back", first))
    page.expect(first, text="cancelled")
    page.expect(button("Take back", first), count=0)
    page.click(button("Stop"))
    page.expect(ANSWER, text="echo: second in line")
    page.expect(second, lacks="queued")
    page.expect(button("Take back"), count=0)


def test_reload_in_the_middle_of_a_stream(visitors: Visitors, sid: str) -> None:
    visitors.make(sid)
    visitor = visitors.signed_in(sid)
    page = visitor.page
    visitor.send("/words 150 20")
    page.expect(ANSWER, text="w10 ")
    page.reload()
    page.expect(ANSWER, text="w149")
    page.expect(button("Stop"), count=0)
    assert words_of(page.texts(ANSWER)[0]) == list(range(150))
    assert len(page.texts(ARTICLE)) == 2


def test_two_devices_share_a_draft_and_a_turn(visitors: Visitors, sid: str) -> None:
    visitors.make(sid)
    one, two = visitors.signed_in(sid), visitors.signed_in(sid)
    one.page.fill(BOX, "half a thought")
    two.page.expect(BOX, value="half a thought")
    two.page.click(button("Send"))
    for visitor in (one, two):
        visitor.page.expect(ANSWER, text="echo: half a thought")
        visitor.page.expect(BOX, value="")
        assert len(visitor.page.texts(QUESTION)) == 1


def test_search_leads_to_a_message(visitors: Visitors, sid: str) -> None:
    visitors.make(sid, f"quokka {visitors.engine.name}", *(f"filler {number}" for number in range(30)))
    visitor = visitors.signed_in()
    page = visitor.page
    page.expect(link_to(sid))
    page.fill(SEARCH, f"quokka {visitors.engine.name}")
    page.press("Enter")
    hits = Part("list", "Search results")
    page.expect(Part("link", within=hits), text="quokka")
    page.picture("journey-5-search")
    page.click(Part("link", text="quokka", within=hits, first=True))
    found = Part("article", text=f"quokka {visitors.engine.name}", within=LOG, first=True)
    page.expect(found, in_view=True)
    page.expect(Part("article", text="filler 0", within=LOG))
