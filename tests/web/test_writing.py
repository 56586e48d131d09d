"""What a person writes: never replaced, never lost, sent when meant, and kept however the browser's storage behaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.web.browser import DESKTOP, Screen, Site
from tests.web.stage import open_stage

NO_BLOBS = """() => {
    for (const name of ["add", "put"]) {
        const real = IDBObjectStore.prototype[name];
        IDBObjectStore.prototype[name] = function (value, ...more) {
            if (/Blob|File/.test(inspect(value))) throw new DOMException("no blobs", "DataCloneError");
            return real.call(this, value, ...more);
        };
    }
    const inspect = (value) => Object.values(value?.files ?? value ?? {}).flatMap((one) => Object.values(one ?? {}))
        .map((one) => Object.prototype.toString.call(one)).join(" ");
}"""
"""A database as a private window of Safari has it."""

STORAGE = {
    "refuses": "() => { indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); }; }",
    "never answers": "() => { IDBFactory.prototype.open = () => ({}); }",
    "fails later": """() => {
        const real = IDBDatabase.prototype.transaction;
        let left = 6;
        IDBDatabase.prototype.transaction = function (...how) {
            if (left-- <= 0) throw new DOMException("gone", "InvalidStateError");
            return real.apply(this, how);
        };
    }""",
}


def attach(screen: Screen, path: Path) -> None:
    with screen.page.expect_file_chooser() as choosing:
        screen.button("Attach file").click()
    choosing.value.set_files(path)


def test_what_is_typed_is_never_replaced(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid, size=DESKTOP), site.signed_in(to=sid, size=DESKTOP)
    one.box.press_sequentially("from the phone")
    two.box.fill("desktop too")
    for screen, mine, other in (
        (one, "from the phone", "desktop too"),
        (two, "desktop too", "from the phone"),
    ):
        offer = screen.page.locator(".offer")
        expect(offer).to_contain_text(f"Another device is writing: {other}")
        expect(screen.box).to_have_value(mine)
    two.button("Use it").click()
    expect(two.box).to_have_value("from the phone")
    one.button("Keep mine").click() if one.button("Keep mine").is_visible() else None
    expect(one.box).to_have_value("from the phone")


def test_a_draft_is_cleared_once_another_device_has_sent_it(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    one.box.press_sequentially("buy flour")
    expect(two.box).to_have_value("buy flour")
    two.button("Send").click()
    expect(one.answers.last).to_contain_text("echo: buy flour")
    expect(one.box).to_have_value("")
    one.box.press_sequentially("and milk")
    two.box.fill("")
    expect(one.box).to_have_value("and milk")


def test_the_enter_that_ends_a_composition_sends_nothing(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid, size=DESKTOP)
    screen.box.fill("日本")
    press = """(box, code) => box.dispatchEvent(
        new KeyboardEvent("keydown", { key: "Enter", keyCode: code, bubbles: true, cancelable: true }))"""
    screen.box.evaluate(press, 229)
    expect(screen.box).to_have_value("日本")
    expect(screen.articles).to_have_count(0)
    screen.box.evaluate(press, 13)
    expect(screen.answers.last).to_contain_text("echo: 日本")


def test_files_are_sent_where_the_browser_keeps_no_blobs(site: Site, sid: str, tmp_path: Path) -> None:
    site.make(sid)
    screen = site.screen()
    screen.page.add_init_script(f"({NO_BLOBS})()")
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    screen.open(sid)
    path = tmp_path / "list.txt"
    path.write_text("quinces")
    attach(screen, path)
    screen.send("look")
    expect(screen.answers.last).to_contain_text("echo: look")
    expect(screen.questions.last).to_contain_text("list.txt")


def test_chosen_files_stay_over_a_visit_elsewhere_and_a_reload(site: Site, sid: str, tmp_path: Path) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    path = tmp_path / "list.txt"
    path.write_text("quinces")
    attach(screen, path)
    chip = screen.page.locator(".chips").get_by_text("list.txt")
    expect(chip).to_be_visible()
    screen.go("#/")
    screen.open(sid)
    expect(chip).to_be_visible()
    screen.page.reload()
    expect(chip).to_be_visible()
    screen.send("with it")
    expect(screen.questions.last).to_contain_text("list.txt")
    expect(screen.answers.last).to_contain_text("echo: with it")
    expect(chip).to_have_count(0)
    screen.page.reload()
    expect(screen.answers.last).to_contain_text("echo: with it")
    expect(chip).to_have_count(0)


@pytest.mark.parametrize("how", STORAGE)
def test_a_person_can_read_and_write_whatever_the_storage_does(site: Site, sid: str, how: str) -> None:
    site.make(sid, "before")
    screen = site.screen()
    screen.page.add_init_script(f"({STORAGE[how]})()")
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    screen.open(sid)
    expect(screen.answers.last).to_contain_text("echo: before")
    for text in ("one", "two", "three"):
        screen.ask(text, f"echo: {text}")
    expect(screen.page.get_by_role("alert").filter(has_text="This browser stores nothing")).to_be_visible()
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [one["content"] for one in told if one["role"] == "user"] == ["before", "one", "two", "three"]


def test_a_message_that_waits_outlives_an_emptied_database(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("send")
    screen.send("do not lose me")
    stage.wait_sent("send")
    screen.page.evaluate(
        """() => new Promise((done) => {
            const opening = indexedDB.open("builderos");
            opening.onsuccess = () => {
                const emptying = opening.result.transaction("outbox", "readwrite").objectStore("outbox").clear();
                emptying.onsuccess = () => { opening.result.close(); done(); };
            };
        })"""
    )
    stage.held.clear()
    screen.send("second")
    expect(screen.questions.filter(has_text="do not lose me")).to_be_visible()
    screen.page.evaluate("() => dispatchEvent(new Event('offline'))")
    expect(screen.answers).to_have_count(2)
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [one["content"] for one in told if one["role"] == "user"] == ["do not lose me", "second"]


def test_a_message_that_only_this_page_has_says_so(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.screen()
    screen.page.add_init_script(f"({STORAGE['refuses']})()")
    screen.go(f"#key={site.key}")
    screen.open(sid)
    screen.page.evaluate("() => { WebSocket.prototype.send = () => {}; }")
    screen.send("hello")
    expect(screen.articles.last).to_contain_text("waiting to send · lost if you close this page")


def test_one_button_stops_or_sends(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP)
    screen = stage.screen
    expect(screen.button("Send")).to_be_visible()
    stage.ask()
    expect(screen.button("Stop")).to_be_visible()
    expect(screen.button("Send")).to_be_hidden()
    screen.box.fill("also this")
    expect(screen.button("Send")).to_be_visible()
    expect(screen.button("Stop")).to_be_visible()
    stage.tell("agent", agent={"can": ["steer"]})
    expect(screen.button("Steer now")).to_be_visible()
    stage.tell("agent", agent={"can": []})
    expect(screen.button("Steer now")).to_be_hidden()
    screen.box.fill("")
    expect(screen.button("Send")).to_be_hidden()


def test_a_queued_message_is_taken_back_into_the_box(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/hang")
    expect(screen.button("Stop")).to_be_visible()
    screen.send("tipyng")
    queued = screen.questions.filter(has_text="tipyng")
    expect(queued).to_contain_text("queued")
    screen.button("Edit", queued).click()
    expect(queued).to_contain_text("cancelled")
    expect(screen.box).to_have_value("tipyng")
    screen.box.fill("")
    screen.button("Stop").click()


def test_dictation_is_offered_only_where_it_can_work(site: Site, sid: str) -> None:
    site.make(sid)
    for script, count in (("", 1), ("Object.defineProperty(navigator, 'standalone', { value: true })", 0)):
        screen = site.screen()
        screen.page.add_init_script(f"window.webkitSpeechRecognition ??= class {{}}; {script}")
        screen.go(f"#key={site.key}")
        screen.open(sid)
        expect(screen.button("Dictate")).to_have_count(count)


def type_with_keyboard(page: Page) -> None:
    page.keyboard.press("ArrowLeft")


def test_a_keyboard_on_a_touch_screen_is_told_how_to_send(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.screen(site.profile(is_mobile=True))
    screen.go(f"#key={site.key}")
    screen.open(sid)
    assert screen.page.evaluate("() => matchMedia('(pointer: coarse)').matches")
    screen.box.press_sequentially("one")
    hint = screen.page.get_by_text(re.compile("Enter sends"))
    expect(hint).to_be_hidden()
    type_with_keyboard(screen.page)
    expect(hint).to_be_visible()
    screen.box.press("Enter")
    expect(screen.articles).to_have_count(0)
    screen.box.press("Control+Enter")
    expect(screen.answers).to_have_count(1)
