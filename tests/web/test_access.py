"""Used by keyboard, read by a screen reader, and looked at on every size of screen, by day and by night."""

from __future__ import annotations

import re
from typing import Literal

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, PHONE, TABLET, Screen, Site, Size
from tests.web.stage import open_stage

Scheme = Literal["light", "dark"]

SCREENS = [(size, scheme) for size in (PHONE, TABLET, DESKTOP) for scheme in ("light", "dark")]

LEAST_TOUCH = 24
"""Pixels that a finger needs at the very least (WCAG 2.2, 2.5.8)."""

SAID = (
    "What is on the shopping list?",
    "**Quinces**, `flour` and *butter*; see [the recipe](https://example.com/quince)",
    "/task weigh the flour",
    "/words 120",
)


def fill(site: Site, sid: str) -> None:
    """Make a session that has something of everything."""
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        for text in SAID:
            phone.ask(sid, text)
        phone.say("rename", session_id=sid, title="Shopping for the weekend")
        phone.wait_for("session_updated")


def check(screen: Screen, name: str) -> None:
    """Keep a picture; find nothing that keeps anybody out, and nothing that sticks out."""
    screen.shoot(name)
    if not name.startswith(TABLET.name):  # it has what a desktop has, and each look takes a second
        assert faults(screen.page) == [], name
    wide = screen.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{name}: the page scrolls sideways by {wide} pixels"


@pytest.mark.parametrize(("size", "scheme"), SCREENS, ids=lambda value: getattr(value, "name", value))
def test_every_page_on_every_screen(site: Site, sid: str, size: Size, scheme: Scheme) -> None:
    fill(site, sid)
    name = f"{size.name}-{scheme}"
    screen = site.screen(site.profile(size, color_scheme=scheme, reduced_motion="reduce"))
    screen.go("")
    expect(screen.button("Sign in")).to_be_visible()
    check(screen, f"{name}-1-sign-in")
    screen.go(f"#key={site.key}")
    expect(screen.link_to(sid)).to_contain_text("Shopping")
    check(screen, f"{name}-2-list")
    screen.button("New session").click()
    expect(screen.page.get_by_role("dialog", name="New session", exact=True)).to_be_visible()
    check(screen, f"{name}-3-new-session")
    screen.page.keyboard.press("Escape")
    screen.open(sid)
    expect(screen.answers.nth(1).locator("strong")).to_be_visible()
    check(screen, f"{name}-4-conversation")
    screen.send("/hang")
    expect(screen.button("Stop")).to_be_visible()
    screen.send("and butter")
    expect(screen.questions.last).to_contain_text("queued")
    check(screen, f"{name}-5-queued")
    screen.button("Stop").click()
    expect(screen.answers.last).to_contain_text("echo: and butter")
    screen.send("/ask Delete the old list?")
    expect(screen.permission).to_be_visible()
    check(screen, f"{name}-6-permission")
    screen.button("Allow", screen.permission).click()
    expect(screen.permission).to_have_count(0)


def test_the_check_finds_what_is_wrong(site: Site) -> None:
    """So that an empty list of faults means something."""
    screen = site.signed_in()
    screen.page.evaluate("() => document.body.append(document.createElement('button'))")
    assert any("button-name" in fault for fault in faults(screen.page))


def test_fingers_find_every_button(site: Site, sid: str) -> None:
    fill(site, sid)
    screen = site.signed_in()
    for fragment in ("#/", f"#/s/{sid}"):
        screen.go(fragment)
        screen.wait_live()
        for button in screen.page.get_by_role("button").all():
            box = button.bounding_box()
            if box is not None and button.is_visible():
                label = button.inner_text() or button.get_attribute("aria-label")
                assert min(box["width"], box["height"]) >= LEAST_TOUCH, (fragment, label, box)


def test_a_visit_by_keyboard_alone(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.screen(size=DESKTOP)
    page = screen.page
    screen.go("")
    tab_to(page, page.get_by_label("Key", exact=True))
    page.keyboard.type(site.key)
    page.keyboard.press("Enter")
    expect(screen.link_to(sid)).to_be_visible()
    tab_to(page, screen.link_to(sid))
    page.keyboard.press("Enter")
    expect(screen.answers.last).to_contain_text("echo: hello")
    tab_to(page, screen.box)
    page.keyboard.type("by keyboard")
    tab_to(page, screen.button("Send"))
    page.keyboard.press("Enter")
    expect(screen.answers.last).to_contain_text("echo: by keyboard")
    tab_to(page, screen.box)
    page.keyboard.type("/ask may I")
    tab_to(page, screen.button("Send"))
    page.keyboard.press("Enter")
    expect(screen.permission).to_be_visible()
    tab_to(page, screen.button("Allow", screen.permission))
    page.keyboard.press("Enter")
    expect(screen.answers.last).to_contain_text("allowed")


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the focus is there; it must come by within a reasonable number."""
    expect(target).to_be_visible()
    for _ in range(60):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {target}")


def test_the_focus_can_be_seen(site: Site) -> None:
    screen = site.signed_in(size=DESKTOP)
    for _ in range(6):
        screen.page.keyboard.press("Tab")
        seen = screen.page.evaluate(
            """() => {
                const style = getComputedStyle(document.activeElement);
                return document.activeElement === document.body
                    || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0)
                    || style.boxShadow !== 'none';
            }"""
        )
        assert seen, screen.page.evaluate("() => document.activeElement.outerHTML.slice(0, 200)")


def test_two_columns_where_there_is_room(site: Site, sid: str) -> None:
    fill(site, sid)
    for size in (TABLET, DESKTOP):
        screen = site.signed_in(size=size, to=sid)
        expect(screen.sessions).to_be_visible()
        expect(screen.log).to_be_visible()
        left, right = screen.sessions.bounding_box(), screen.log.bounding_box()
        assert left is not None
        assert right is not None
        assert left["x"] + left["width"] <= right["x"] + 1, "beside each other"


def test_few_tabs_lead_to_the_box(site: Site, sid: str) -> None:
    for number in range(40):
        site.make(f"{sid}-{number}")
    site.make(sid, "hello")
    screen = site.signed_in(size=DESKTOP, to=sid)
    expect(screen.sessions.get_by_role("link").nth(39)).to_be_attached()
    screen.page.evaluate("() => { document.body.tabIndex = -1; document.body.focus(); }")
    screen.page.keyboard.press("Tab")
    expect(screen.button("Skip to the message box")).to_be_focused()
    expect(screen.button("Skip to the message box")).to_be_in_viewport()
    screen.page.keyboard.press("Enter")
    expect(screen.box).to_be_focused()


def test_messages_and_answers_have_names_and_headings(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    screen.ask("# mine", "echo: # mine")
    for article in screen.articles.all():
        name = article.get_attribute("aria-label") or ""
        assert re.match(r".+, \d", name), name
    mine = screen.questions.last
    assert (mine.get_attribute("aria-label") or "").startswith("You, ")
    expect(mine.get_by_role("heading", level=2)).to_contain_text("You")
    expect(screen.answers.last.get_by_role("heading", level=3)).to_contain_text("echo")


def test_headings_of_an_answer_stand_below_those_of_the_page(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    stage.say("x")
    stage.end(html='<div data-block="a"><h1>One</h1><h3>Three</h3></div>')
    answer = stage.screen.answers.last
    expect(answer.get_by_role("heading", name="One", level=4)).to_be_visible()
    expect(answer.get_by_role("heading", name="Three", level=6)).to_be_visible()


def test_what_is_said_in_passing_stays_readable(site: Site) -> None:
    screen = site.signed_in()
    screen.page.evaluate(
        """async () => {
            const { Shell } = await import("/js/views/shell.js");
            window.say = (text) => Shell.prototype.say.call({ toasts: document.querySelector(".toasts") }, text);
        }"""
    )
    screen.page.clock.install()
    screen.page.evaluate("() => { say('The first.'); say('The second.'); }")
    for text in ("The first.", "The second."):
        expect(screen.page.get_by_role("alert").filter(has_text=text)).to_be_visible()
    one, two = (screen.page.locator(".toast").nth(number).bounding_box() for number in (0, 1))
    assert one is not None
    assert two is not None
    assert one["y"] + one["height"] <= two["y"], "one does not cover the other"
    screen.page.locator(".toast").first.hover()
    screen.page.clock.run_for(60_000)
    expect(screen.page.get_by_text("The second.")).to_have_count(0)
    expect(screen.page.get_by_text("The first.")).to_be_visible()
    screen.button("Dismiss").click()
    expect(screen.page.get_by_text("The first.")).to_have_count(0)


def test_marks_stay_in_forced_colours(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(size=DESKTOP, to=sid, forced_colors="active")
    expect(screen.answers.last).to_contain_text("echo: hello")
    border = "(one) => parseFloat(getComputedStyle(one).borderTopWidth)"
    for marked in (screen.link_to(sid), screen.questions.last.locator(".text"), screen.button("Send")):
        assert marked.evaluate(border) >= 1


@pytest.mark.parametrize(
    "size", [Size("half", 640, 400), Size("quarter", 320, 256)], ids=lambda one: one.name
)
def test_a_page_at_twice_and_four_times_its_size(site: Site, sid: str, size: Size) -> None:
    """What a browser of 1280 by 800 shows at 200 %, and one of 1280 by 1024 at 400 %."""
    site.make(sid, "hello")
    screen = site.signed_in(size=size, to=sid)
    expect(screen.answers.last).to_contain_text("echo: hello")
    assert screen.page.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0
    copy = screen.button("Copy", screen.answers.last).bounding_box()
    box, log = screen.box.bounding_box(), screen.log.bounding_box()
    assert copy is not None
    assert box is not None
    assert log is not None
    assert copy["height"] < 60, "its letters stand beside each other"
    assert log["height"] >= 90, "there is room to read"
    assert box["y"] + box["height"] <= size.height
