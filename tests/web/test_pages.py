"""The frame around the sessions: going back, dialogs, versions, shortcuts, the inbox, and what a phone does to a page."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.web.axe import faults
from tests.web.stage import open_stage
from tests.web.wire import open_wire
from tests.web.world import DESKTOP, PHONE, TABLET, Screen, Site, Size


def dialog(screen: Screen, name: str) -> Locator:
    return screen.page.get_by_role("dialog", name=name, exact=True)


# ---- back ----


def test_the_browsers_back_closes_what_is_open(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in()
    screen.link_to(sid).click()
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.button("Details").click()
    expect(dialog(screen, "Details")).to_be_visible()
    screen.page.go_back()
    expect(dialog(screen, "Details")).to_have_count(0)
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.page.go_back()
    expect(screen.link_to(sid)).to_be_visible()
    screen.page.go_forward()
    screen.button("Details").click()
    screen.button("Close", dialog(screen, "Details")).click()
    expect(dialog(screen, "Details")).to_have_count(0)
    screen.page.go_back()
    expect(screen.link_to(sid)).to_be_visible()


def test_a_question_after_a_dialog_stays_open(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    screen.button("Details").click()
    screen.button("Delete", dialog(screen, "Details")).click()
    sure = dialog(screen, "Are you sure?")
    expect(sure).to_contain_text("This permanently deletes the session")
    screen.button("Cancel", sure).click()
    expect(sure).to_have_count(0)
    expect(screen.answers.last).to_contain_text("echo: hello")
    screen.button("Details").click()
    screen.button("Delete", dialog(screen, "Details")).click()
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
    expect(dialog(screen, "Settings")).to_be_visible()


# ---- keyboard ----


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
    expect(dialog(screen, "New session")).to_be_visible()


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
    expect(dialog(screen, "Keyboard shortcuts")).to_be_visible()
    screen.page.keyboard.press("Escape")
    screen.log.focus()
    screen.page.keyboard.press("j")
    assert screen.page.evaluate("() => document.activeElement.localName") == "article"
    screen.page.keyboard.press("m")
    expect(screen.box).to_be_focused()


# ---- for those who listen, and for those who look closely ----


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
    offered = dialog(screen, "New session").get_by_label("Agent", exact=True).locator("option")
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


# ---- a phone ----


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


def test_a_code_or_a_link_in_the_field_signs_in(site: Site) -> None:
    with site.http() as http:
        for how in ("code", "url"):
            told = http.post("/api/devices/pair", json={"name": f"By {how}", "scope": "drive"}).json()
            screen = site.screen()
            screen.go("")
            screen.page.get_by_label("Key", exact=True).fill(told[how])
            screen.button("Sign in").click()
            expect(screen.sessions).to_be_visible()
            assert f"By {how}" in [one["name"] for one in http.get("/api/devices").json()["devices"]]
    screen = site.screen()
    screen.go("")
    screen.page.get_by_label("Key", exact=True).fill(f"{site.server.url}/#key={site.key}")
    screen.button("Sign in").click()
    expect(screen.sessions).to_be_visible()
    again = site.screen()
    again.go("")
    again.page.get_by_label("Key", exact=True).fill(told["url"])
    again.button("Sign in").click()
    expect(again.page.get_by_role("alert")).to_have_text("This link has expired or was already used.")


def test_storage_is_asked_to_last(site: Site) -> None:
    screen = site.screen()
    screen.page.add_init_script(
        "navigator.storage.persist = () => { window.asked = true; return Promise.resolve(true); };"
    )
    screen.go("")
    screen.page.get_by_label("Key", exact=True).fill(site.key)
    screen.button("Sign in").click()
    expect(screen.sessions).to_be_visible()
    assert screen.page.evaluate("() => window.asked")


def test_pairing_asks_for_an_address_that_the_device_can_use(site: Site) -> None:
    screen = site.signed_in()
    screen.button("Pair a device").click()
    pair = dialog(screen, "Pair a device")
    address = pair.get_by_label("Address", exact=True)
    expect(address).to_have_value("")
    for useless in (site.server.url, "http://localhost:8080", "builder", "ftp://host"):
        address.fill(useless)
        screen.button("Make a link", pair).click()
        expect(pair.get_by_role("alert")).not_to_have_text("")
        expect(pair.get_by_role("img")).to_have_count(0)
    address.fill("http://192.0.2.7:1")
    screen.button("Make a link", pair).click()
    expect(pair.get_by_label("Link", exact=True)).to_have_value(
        re.compile(r"^http://192\.0\.2\.7:1/#pair=\S{32}$")
    )
    expect(pair.get_by_role("img", name="QR code with the link")).to_be_visible()
    expect(pair.get_by_role("alert")).to_contain_text("does not answer at this address")


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
    screen.button("Markdown", dialog(screen, "Details")).click()
    screen.page.wait_for_function("() => window.shared")
    name, text = screen.page.evaluate("() => window.shared")
    assert name == f"{sid}.md"
    assert "> hello" in text


def test_a_removed_device_is_told_so_and_keeps_its_words(site: Site, sid: str) -> None:
    site.make(sid)
    with site.http() as http:
        made = http.post("/api/devices", json={"name": "guest", "scope": "drive"}).json()
        screen = site.signed_in(key=made["key"], to=sid)
        screen.box.press_sequentially("not yet sent")
        assert http.delete(f"/api/devices/{made['id']}").status_code == 200
    expect(screen.page.get_by_role("alert")).to_contain_text("This device was removed")
    screen.page.get_by_label("Key", exact=True).fill(site.key)
    screen.button("Sign in").click()
    expect(screen.sessions).to_be_visible()
    screen.open(sid)
    expect(screen.box).to_have_value("not yet sent")


def test_signing_out_asks_if_something_waits_to_be_sent(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("send")
    screen.send("on its way")
    stage.wait_sent("send")
    screen.go("#/")
    screen.button("Sign out").click()
    sure = dialog(screen, "Are you sure?")
    expect(sure).to_contain_text("Messages that wait to be sent are lost")
    screen.button("Sign out", sure).click()
    expect(screen.page.get_by_label("Key", exact=True)).to_be_visible()


def test_the_theme_is_the_persons(site: Site) -> None:
    for size in (PHONE, TABLET):
        screen = site.signed_in(size=size, color_scheme="light")
        scheme = "() => getComputedStyle(document.documentElement).colorScheme"
        assert screen.page.evaluate(scheme) == "light"
        screen.button("Settings").click()
        dialog(screen, "Settings").get_by_label("Theme").select_option("dark")
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
    sheet = dialog(screen, "New session")
    sheet.get_by_text("Folder, model and mode").click()
    field = sheet.get_by_label("Model")
    field.scroll_into_view_if_needed()
    for one in (sheet, field):
        box = one.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 508
