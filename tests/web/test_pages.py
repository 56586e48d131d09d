"""The frame around the sessions: going back, dialogs, versions, shortcuts, the inbox."""

from __future__ import annotations

import re
from typing import Any

import httpx
from playwright.sync_api import expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, PHONE, Site
from tests.web.stage import open_stage
from tests.web.wire import open_wire

# ---- back ----


def test_the_browsers_back_closes_what_is_open(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in()
    screen.link_to(sid).click()
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.button("Details").click()
    expect(screen.dialog("Details")).to_be_visible()
    screen.page.go_back()
    expect(screen.dialog("Details")).to_have_count(0)
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.page.go_back()
    expect(screen.link_to(sid)).to_be_visible()
    screen.page.go_forward()
    screen.button("Details").click()
    screen.button("Close", screen.dialog("Details")).click()
    expect(screen.dialog("Details")).to_have_count(0)
    screen.page.go_back()
    expect(screen.link_to(sid)).to_be_visible()


def test_a_question_after_a_dialog_stays_open(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    screen.button("Details").click()
    screen.button("Delete", screen.dialog("Details")).click()
    sure = screen.dialog("Are you sure?")
    expect(sure).to_contain_text("This permanently deletes the session")
    screen.button("Cancel", sure).click()
    expect(sure).to_have_count(0)
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.button("Details").click()
    screen.button("Delete", screen.dialog("Details")).click()
    screen.button("Delete", sure).click()
    expect(screen.page).to_have_url(re.compile("#/$"))
    expect(screen.link_to(sid)).to_have_count(0)


def test_the_arrow_does_not_lengthen_the_history(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in()
    long = "() => history.length"
    for _ in range(3):
        screen.link_to(sid).click()
        expect(screen.answers.last).to_contain_text("echo: hello")
        screen.page.get_by_role("link", name="Back", exact=True).click()
        expect(screen.link_to(sid)).to_be_visible()
    assert screen.page.evaluate(long) <= 4
    screen.open(sid)
    screen.page.reload()
    expect(screen.answers.last).to_contain_text("echo: hello")
    before = screen.page.evaluate(long)
    screen.page.get_by_role("link", name="Back", exact=True).click()
    expect(screen.link_to(sid)).to_be_visible()
    assert screen.page.evaluate(long) == before


# ---- versions ----


def test_a_new_version_waits_for_the_person_and_loses_nothing(site: Site, sid: str) -> None:
    site.make(sid)
    colour = "() => getComputedStyle(document.documentElement).getPropertyValue('--page').trim()"
    with open_wire(site.server.url) as wire:
        screen = site.signed_in(to=sid, url=wire.url, color_scheme="light", service_workers="allow")
        screen.wait_worker()
        screen.page.reload()
        screen.wait_live()
        expect(screen.button("Reload")).to_have_count(0)
        before = screen.page.evaluate(colour)
        screen.box.press_sequentially("half a thought")
        # From now on the server has another style sheet, and no longer says that nothing has changed.
        wire.swaps = [(b"--page:#f7f6f2", b"--page:#f7f6f3"), (b"if-none-match", b"xf-none-match")]
        wire.swaps += [(b"If-None-Match", b"Xf-None-Match")]
        wire.cut()
        expect(screen.status).not_to_have_text("live")
        wire.mend()
        expect(screen.page.get_by_text("A new version is ready.", exact=True)).to_be_visible()
        expect(screen.box).to_have_value("half a thought")
        assert screen.page.evaluate(colour) == before, "a page keeps the version that it began with"
        screen.button("Reload").click()
        screen.wait_live()
        expect(screen.box).to_have_value("half a thought")
        assert screen.page.evaluate(colour) == "#f7f6f3"
        expect(screen.button("Reload")).to_have_count(0)


def test_without_a_worker_the_servers_version_tells(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    expect(stage.screen.button("Reload")).to_have_count(0)
    stage.cut()
    stage.screen.wait_live()
    expect(stage.screen.button("Reload")).to_have_count(0)
    stage.ready["server_version"] = "next"
    stage.cut()
    expect(stage.screen.button("Reload")).to_be_visible()


def test_the_rest_of_the_app_is_kept_once_the_page_is_idle(site: Site) -> None:
    screen = site.signed_in(service_workers="allow")
    screen.wait_worker()
    source = httpx.get(f"{site.server.url}/sw.js").text
    wanted = len(set(re.findall(r'"(/[^"]*)",', source)))
    count = """async (wanted) => {
        const name = (await caches.keys()).find((one) => one.startsWith('app-'));
        return name && (await (await caches.open(name)).keys()).length === wanted;
    }"""
    screen.page.wait_for_function(count, arg=wanted)
    screen.context.set_offline(True)
    screen.page.reload()
    expect(screen.sessions).to_be_visible()
    screen.button("Settings").click()
    expect(screen.dialog("Settings")).to_be_visible()


# ---- keyboard ----


def test_the_palette_goes_to_a_session(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    with site.phone() as phone:
        phone.attach(sid)
        phone.say("rename", session_id=sid, title="Wholemeal rye")
        phone.wait_for("session_updated")
    site.make(f"{sid}-renewed-houses")  # it has the letters of "new ses", too
    screen = site.signed_in(size=DESKTOP)
    expect(screen.link_to(sid)).to_contain_text("Wholemeal")
    expect(screen.link_to(f"{sid}-renewed-houses")).to_be_visible()
    screen.page.keyboard.press("Control+k")
    box = screen.page.get_by_role("combobox", name="Go to or do")
    expect(box).to_be_focused()
    assert faults(screen.page) == []
    screen.page.keyboard.type("whole rye")
    choices = screen.page.get_by_role("listbox", name="Choices").get_by_role("option")
    expect(choices.first).to_contain_text("Wholemeal rye")
    screen.page.keyboard.press("Enter")
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.page.keyboard.press("Control+k")
    expect(box).to_be_focused()
    screen.page.keyboard.type("new ses")
    screen.page.keyboard.press("Enter")
    expect(screen.dialog("New session")).to_be_visible()


def test_letters_are_shortcuts_while_nobody_writes(site: Site, sid: str) -> None:
    site.make(sid, "one", "two")
    screen = site.signed_in(size=DESKTOP, to=sid)
    expect(screen.articles).to_have_count(4)
    screen.box.fill("")
    screen.page.keyboard.type("n?")
    expect(screen.box).to_have_value("n?")
    screen.box.fill("")
    screen.log.focus()
    screen.page.keyboard.press("?")
    expect(screen.dialog("Keyboard shortcuts")).to_be_visible()
    screen.page.keyboard.press("Escape")
    screen.log.focus()
    screen.page.keyboard.press("j")
    assert screen.page.evaluate("() => document.activeElement.localName") == "article"
    screen.page.keyboard.press("m")
    expect(screen.box).to_be_focused()


# ---- the inbox ----


def test_what_needs_the_person_comes_first(site: Site, sid: str) -> None:
    site.make(f"{sid}-asks")
    with site.phone() as phone:
        phone.attach(f"{sid}-asks")
        phone.send(f"{sid}-asks", "/ask may I")
        phone.attach(f"{sid}-runs")
        phone.send(f"{sid}-runs", "/hang")
        phone.wait_for("turn_started", lambda one: one["session_id"] == f"{sid}-runs")
        site.make(f"{sid}-rests", "hello")
        screen = site.signed_in()
        order = screen.sessions.get_by_role("link").or_(screen.sessions.get_by_role("heading"))
        expect(screen.link_to(f"{sid}-asks")).to_have_attribute("data-state", "waiting")
        texts = [text.split("\n")[0] for text in order.all_inner_texts()]
        places = [texts.index(text) for text in ("Needs you", f"{sid}-asks", "Running", f"{sid}-runs")]
        assert places == sorted(places)
        assert texts.index(f"{sid}-rests") > places[-1]
        for name in (f"{sid}-asks", f"{sid}-runs"):
            phone.say("interrupt", session_id=name)


def test_sessions_stand_by_project(site: Site, sid: str) -> None:
    screen = site.screen()
    entries: list[dict[str, Any]] = [
        {
            "session_id": f"p{number}",
            "agent_type": "claude" if number % 2 else "codex",
            "title": f"Task {number}",
            "state": "idle",
            "head_seq": 1,
            "unread": number == 2,
            "last_activity": f"2026-01-02T03:04:0{number}.000Z",
            "workspace": f"/home/me/{'bakery' if number < 3 else 'garden'}",
            "pinned": number == 4,
        }
        for number in range(5)
    ]
    answer = {"total": 5, "sessions": entries, "next_before": None}
    screen.page.route("**/api/sessions?*", lambda route: route.fulfill(json=answer))
    screen.go(f"#key={site.key}")
    expect(screen.sessions.get_by_role("heading")).to_have_text(["Pinned", "garden", "bakery"])
    for chip, count in (("Unread", 1), ("codex", 3)):
        screen.button(chip).click()
        expect(screen.sessions.get_by_role("link")).to_have_count(count)
        screen.button(chip).click()
    expect(screen.page).to_have_title("(1) BuilderOS")
    assert faults(screen.page) == []


def test_a_session_begins_with_its_first_message(site: Site) -> None:
    for size in (PHONE, DESKTOP):
        screen = site.signed_in(size=size)
        box = screen.page.get_by_role("textbox", name="What should we do?", exact=True)
        screen.page.get_by_role("combobox", name="With agent", exact=True).select_option("echo")
        box.fill("Count the loaves")
        screen.button("Start").click()
        expect(screen.page).to_have_url(re.compile(r"#/s/s-[0-9a-f]{12}$"))
        expect(screen.answers.last).to_contain_text("echo: Count the loaves")
        expect(screen.page.get_by_role("heading", name="Count the loaves", level=1)).to_be_visible()


def test_an_agent_that_is_ready_is_offered_first(site: Site) -> None:
    screen = site.signed_in()
    expect(screen.page.get_by_label("With agent", exact=True).locator("option").first).to_have_text("echo")
    screen.button("New session").click()
    offered = screen.dialog("New session").get_by_label("Agent", exact=True).locator("option")
    expect(offered.first).to_have_text("echo")


def test_a_search_hit_is_marked_until_the_person_goes_on(site: Site, sid: str) -> None:
    site.make(sid, "quagga by the sea", *(f"filler {number}" for number in range(5)))
    screen = site.signed_in()
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("quagga")
    box.press("Enter")
    screen.page.get_by_role("list", name="Search results", exact=True).get_by_role("link").first.click()
    found = screen.log.locator("article.found")
    expect(found).to_contain_text("quagga")
    screen.log.press("ArrowDown")
    expect(found).to_have_count(0)
