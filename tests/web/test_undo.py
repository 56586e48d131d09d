"""The line below a turn that changed files, and taking the changes back."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.browser import Site
from tests.web.repository import make_repository


def test_a_turn_shows_what_it_changed_and_undo_takes_it_back(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\ntwo\n"})
    work.turn({"a.txt": "one\n2\n", "new.txt": "1\n2\n"})
    screen = site.signed_in(to=sid)
    line = screen.answers.last.locator(".changed")
    expect(line).to_contain_text("2 files, +3 −1")
    screen.button("Undo", line).click()
    screen.button("Cancel").click()
    assert work.read("a.txt") == "one\n2\n"
    screen.button("Undo", line).click()
    screen.button("Undo", screen.page.get_by_role("dialog")).click()
    expect(screen.log.get_by_text("Changes undone: 2 files")).to_be_visible()
    expect(line).to_contain_text("undone")
    assert work.read("a.txt") == "one\ntwo\n"
    assert not (work.folder / "new.txt").exists()
    screen.button("Redo", line).click()
    screen.button("Redo", screen.page.get_by_role("dialog")).click()
    expect(screen.log.get_by_text("Changes restored: 2 files")).to_be_visible()
    expect(screen.button("Undo", line)).to_be_visible()
    assert work.read("new.txt") == "1\n2\n"


def test_a_conflict_is_left_alone_and_named(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n", "b.txt": "one\n"})
    work.turn({"a.txt": "agent\n", "b.txt": "agent\n"})
    work.write({"a.txt": "mine\n"})
    screen = site.signed_in(to=sid)
    line = screen.answers.last.locator(".changed")
    screen.button("Undo", line).click()
    screen.button("Undo", screen.page.get_by_role("dialog")).click()
    expect(screen.log.get_by_text("Changes undone: 1 file")).to_be_visible()
    expect(
        screen.log.get_by_text("Left alone, since they were changed in the same place: a.txt")
    ).to_be_visible()
    assert (work.read("a.txt"), work.read("b.txt")) == ("mine\n", "one\n")


def test_an_undo_of_conflicts_only_is_refused_in_words(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"a.txt": "agent\n"})
    work.write({"a.txt": "mine\n"})
    screen = site.signed_in(to=sid)
    screen.button("Undo", screen.answers.last.locator(".changed")).click()
    screen.button("Undo", screen.page.get_by_role("dialog")).click()
    expect(
        screen.page.get_by_text("Nothing was undone. Changed since in the same place: a.txt")
    ).to_be_visible()


def test_an_undo_while_another_session_works_there_asks_again(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"a.txt": "agent\n"})
    other = make_repository(site, f"{sid}-other", {}, folder=sid)
    with site.phone() as phone:
        other.attach(phone)
        request = other.begin(phone)
        screen = site.signed_in(to=sid)
        screen.button("Undo", screen.answers.last.locator(".changed")).click()
        screen.button("Undo", screen.page.get_by_role("dialog")).click()
        screen.button("Undo anyway").click()
        expect(screen.log.get_by_text("Changes undone: 1 file")).to_be_visible()
        assert work.read("a.txt") == "one\n"
        other.finish(phone, request)


def test_a_device_that_may_not_drive_sees_the_line_and_no_undo(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"a.txt": "agent\n"})
    with site.http() as http:
        key = http.post("/api/devices", json={"name": "viewer", "scope": "view"}).json()["key"]
    screen = site.signed_in(key=key, to=sid)
    line = screen.answers.last.locator(".changed")
    expect(line).to_contain_text("1 file, +1 −1")
    expect(screen.button("Undo", line)).to_have_count(0)
