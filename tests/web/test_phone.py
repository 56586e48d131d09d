"""What a phone does to a page: its side, its keyboard, its share sheet, its colours."""

from __future__ import annotations

import json

import httpx
from playwright.sync_api import expect

from tests.web.browser import PHONE, TABLET, Site, Size


def test_a_phone_on_its_side_shows_one_thing(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(size=Size("side", 844, 390, touch=True), to=sid)
    expect(screen.answers.last).to_contain_text("echo: hello")
    expect(screen.sessions).to_be_hidden()
    box = screen.log.bounding_box()
    assert box is not None
    assert box["width"] > 800


def test_the_page_is_as_high_as_the_keyboard_leaves_it(site: Site, sid: str) -> None:
    """iOS reports the keyboard before the height is right, and of its end by another event or by none."""
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    screen.page.evaluate(
        """() => {
            let height = 844;
            Object.defineProperty(visualViewport, "height", { get: () => height });
            window.keyboard = (next, event, late) => {
                if (!late) height = next;
                if (event === "focusout") window.dispatchEvent(new Event(event));
                else visualViewport.dispatchEvent(new Event(event));
                if (late) setTimeout(() => (height = next), late);
            };
        }"""
    )
    app = screen.page.locator("#app")
    screen.page.evaluate("() => keyboard(508, 'resize', 120)")
    expect(app).to_have_css("height", "508px")
    low = screen.box.bounding_box()
    assert low is not None
    assert low["y"] + low["height"] <= 508
    screen.page.evaluate("() => keyboard(844, 'focusout', 200)")
    expect(app).to_have_css("height", "844px")


def test_an_export_goes_to_the_share_sheet_of_an_installed_app(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.screen()
    screen.page.add_init_script(
        """
        const real = window.matchMedia;
        window.matchMedia = (query) => /standalone/.test(query) ? { matches: true } : real(query);
        navigator.canShare = () => true;
        navigator.share = async ({ files }) => { window.shared = [files[0].name, await files[0].text()]; };
        """
    )
    screen.go(f"#key={site.key}")
    screen.open(sid)
    screen.button("Details").click()
    screen.button("Markdown", screen.dialog("Details")).click()
    screen.page.wait_for_function("() => window.shared")
    name, text = screen.page.evaluate("() => window.shared")
    assert name == f"{sid}.md"
    assert "> hello" in text


def test_the_theme_is_the_persons(site: Site) -> None:
    for size in (PHONE, TABLET):
        screen = site.signed_in(size=size, color_scheme="light")
        scheme = "() => getComputedStyle(document.documentElement).colorScheme"
        assert screen.page.evaluate(scheme) == "light"
        screen.button("Settings").click()
        screen.dialog("Settings").get_by_label("Theme").select_option("dark")
        assert screen.page.evaluate(scheme) == "dark"
        screen.page.reload()
        expect(screen.sessions).to_be_visible()
        assert screen.page.evaluate(scheme) == "dark"


def test_what_is_installed_begins_in_one_colour_by_day_and_night(site: Site) -> None:
    manifest = json.loads(httpx.get(f"{site.server.url}/manifest.webmanifest").text)
    assert manifest["background_color"] == manifest["theme_color"]
    channels = [int(manifest["background_color"][at : at + 2], 16) for at in (1, 3, 5)]
    assert max(channels) < 0xB0, "a bright start hurts at night"


def test_a_sheet_stands_above_the_keyboard(site: Site) -> None:
    screen = site.signed_in()
    screen.page.evaluate(
        """() => {
            Object.defineProperty(visualViewport, "height", { get: () => 508 });
            visualViewport.dispatchEvent(new Event("resize"));
        }"""
    )
    expect(screen.page.locator("#app")).to_have_css("height", "508px")
    screen.button("New session").click()
    sheet = screen.dialog("New session")
    sheet.get_by_text("Folder, model and mode").click()
    field = sheet.get_by_label("Model")
    field.scroll_into_view_if_needed()
    for one in (sheet, field):
        box = one.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 508
