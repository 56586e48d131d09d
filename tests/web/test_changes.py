"""The view of what a turn, or the whole session, changed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, PHONE, Screen, Site, Size
from tests.web.repository import make_repository

LONG = "word " * 200


def view_of(screen: Screen, size: Size) -> Locator:
    """Open the changes of the last turn."""
    screen.button("View", screen.answers.last.locator(".changed")).click()
    kind = "region" if size is DESKTOP else "dialog"
    return screen.page.get_by_role(kind, name="Changes", exact=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=lambda one: one.name)
def test_changes_of_a_turn_and_of_the_session(site: Site, sid: str, size: Size) -> None:
    work = make_repository(site, sid, {"a.txt": "one\ntwo\n", "gone.txt": "x\n"})
    work.turn({"first.txt": "1\n"})
    work.turn({"a.txt": f"one\n<b>{LONG}</b>\n", "gone.txt": None})
    screen = site.signed_in(to=sid, size=size)
    view = view_of(screen, size)
    expect(view.get_by_text("2 files, +1 −2.")).to_be_visible()
    expect(view.get_by_text("first.txt")).to_have_count(0)
    added = view.locator(".added")
    expect(added).to_contain_text("+<b>word word")
    expect(added).to_have_attribute("data-number", "2")
    assert added.evaluate("(one) => one.scrollWidth <= one.clientWidth"), "a long line wraps"
    assert view.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    box = view.bounding_box()
    assert box
    assert (box["width"] == size.width) == (size is PHONE)
    assert faults(screen.page) == []
    view.get_by_text("a.txt").click()
    expect(added).to_be_hidden()
    screen.button("Whole session", view).click()
    expect(view.get_by_text("3 files, +2 −2.")).to_be_visible()
    expect(view.get_by_text("first.txt")).to_be_visible()
    screen.button("Close", view).click()
    expect(view).to_have_count(0)
    expect(screen.log).to_be_visible()


def test_a_long_patch_is_drawn_in_parts(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"big.txt": "".join(f"line {number}\n" for number in range(5000))})
    screen = site.signed_in(to=sid)
    view = view_of(screen, PHONE)
    expect(view.get_by_text("1 file, +5000 −0.")).to_be_visible()
    assert view.locator(".added").count() == 0, "a long patch is drawn when it is opened"
    view.get_by_text("big.txt").click()
    expect(view.locator(".added").first).to_have_text("+line 0")
    assert view.locator(".added").count() < 1000
    more = view.get_by_role("button", name="Show more lines")
    while more.is_visible():
        # One that the page has taken away by now is not waited for.
        more.evaluate_all("buttons => buttons.forEach((button) => button.scrollIntoView())")
        screen.page.wait_for_function("() => new Promise((done) => requestAnimationFrame(() => done(true)))")
    assert view.locator(".added").count() == 5000
    expect(view.locator(".added").last).to_have_text("+line 4999")


def test_a_file_whose_patch_was_left_out_is_fetched_on_request(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"huge.txt": "".join(f"{number} {'x' * 90}\n" for number in range(4000))})
    screen = site.signed_in(to=sid)
    view = view_of(screen, PHONE)
    view.get_by_text("huge.txt").click()
    screen.button("Show this file's changes", view).click()
    expect(view.locator(".added").first).to_contain_text("+0 xxx")


def test_a_refusal_is_shown_and_can_be_tried_again(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"a.txt": "two\n"})
    screen = site.signed_in(to=sid)
    busy = '{"error":{"code":"busy","message":"Being compared already."}}'
    screen.page.route("**/changes?*", lambda route: route.fulfill(status=429, body=busy), times=1)
    view = view_of(screen, PHONE)
    expect(view.get_by_text("Being compared already.")).to_be_visible()
    screen.button("Try again", view).click()
    expect(view.get_by_text("1 file, +1 −1.")).to_be_visible()


def test_the_details_lead_to_all_changes(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"a.txt": "two\n"})
    screen = site.signed_in(to=sid)
    screen.button("Details").click()
    screen.button("Show all changes").click()
    view = screen.page.get_by_role("dialog", name="Changes", exact=True)
    expect(view.get_by_text("1 file, +1 −1.")).to_be_visible()
    expect(screen.button("This turn", view)).to_have_count(0)


def test_a_comment_on_a_line_goes_into_the_next_message(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"src/a.txt": "one\ntwo\nthree\n"})
    work.turn({"src/a.txt": "one\n2\nthree\n"})
    screen = site.signed_in(to=sid)
    screen.box.fill("Please:")
    view = view_of(screen, PHONE)
    view.locator(".added").tap()
    form = view.locator("form.comment")
    expect(form.get_by_label("Comment on line 2")).to_be_focused()
    assert faults(screen.page) == []
    screen.button("Add to message", form).click()
    expect(form).to_be_visible()
    form.get_by_role("textbox").fill("Why a digit?")
    screen.button("Add to message", form).click()
    expect(form).to_have_count(0)
    expect(view.get_by_text("Why a digit?")).to_be_visible()
    view.locator(".removed").tap()
    form.get_by_role("textbox").fill("This was better.")
    form.get_by_role("textbox").press("Control+Enter")
    screen.button("Close", view).click()
    first = "`src/a.txt`, line 2:\n> +2\n\nWhy a digit?"
    second = "`src/a.txt`, removed line 2:\n> -two\n\nThis was better."
    expect(screen.box).to_have_value(f"Please:\n\n{first}\n\n{second}\n")
    screen.button("Send").click()
    expect(screen.questions.last).to_contain_text("This was better.")


def test_old_and_new_are_side_by_side_and_keys_choose_lines(site: Site, sid: str) -> None:
    before = "".join(f"{number}\n" for number in range(1, 40))
    work = make_repository(site, sid, {"a.txt": before})
    after = before.replace("3\n4\n5\n", "three\n5\n", 1).replace("30\n", "30\nmore\n")
    work.turn({"a.txt": after, "b.txt": "b\n"})
    screen = site.signed_in(to=sid, size=DESKTOP)
    view = view_of(screen, DESKTOP)
    expect(view.get_by_text("2 files, +3 −2.")).to_be_visible()
    screen.button("Side by side", view).click()
    pairs = view.locator(".pair")
    expect(pairs.first).to_be_visible()
    box = view.bounding_box()
    assert box
    assert box["width"] > 1000
    side = "(side) => `${side.dataset.number ?? ''}|${side.textContent.trim()}`"
    rows = pairs.evaluate_all(f"(all) => all.map((one) => [...one.children].map({side}))")
    assert ["3|-3", "3|+three"] in rows
    assert ["4|-4", "|"] in rows
    assert ["5|5", "4|5"] in rows, "each side has its own numbers"
    assert ["|", "30|+more"] in rows
    assert ["31|31", "31|31"] in rows
    assert faults(screen.page) == []
    view.locator(".patch").first.focus()
    for _ in range(4):
        screen.page.keyboard.press("ArrowDown")
    screen.page.keyboard.press("Enter")
    expect(view.locator("form.comment")).to_be_visible()
    screen.page.keyboard.press("Escape")
    expect(view.locator("form.comment")).to_have_count(0)
    expect(view).to_be_visible()
    screen.button("Side by side", view).click()
    expect(pairs).to_have_count(0)
    expect(view.locator(".added").first).to_have_text("+three")
