"""The list of sessions, new ones, what is unread, search, and what a first visit shows."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.shared_server import run_shared
from tests.web.axe import faults
from tests.web.browser import DESKTOP, PHONE, TABLET, Site
from tests.web.repository import make_repository


def test_the_list_is_live(site: Site, sid: str) -> None:
    screen = site.signed_in()
    with site.phone() as phone:
        phone.attach(sid)
        phone.ask(sid, "hello")
        link = screen.link_to(sid)
        expect(link).to_be_visible()
        expect(link).to_contain_text("echo")
        expect(link).to_have_attribute("data-state", "idle")
        phone.send(sid, "/hang")
        expect(link).to_have_attribute("data-state", "running")
        expect(link).to_contain_text("running")
        phone.say("interrupt", session_id=sid)
        expect(link).to_have_attribute("data-state", "idle")
        phone.send(sid, "/ask please")
        expect(link).to_have_attribute("data-state", "waiting")
        expect(link).to_contain_text("waiting")
        phone.say("rename", session_id=sid, title="Summer holidays")
        expect(link).to_contain_text("Summer holidays")
    with site.http() as http, site.phone() as phone:
        phone.attach(sid)
        phone.say("interrupt", session_id=sid)
        phone.wait_for("interrupted")
        expect(link).to_have_attribute("data-state", "idle")
        assert http.get("/api/sessions").json()["sessions"][0]["title"] == "Summer holidays"


def test_the_newest_is_first(site: Site, sid: str) -> None:
    names = [f"{sid}-{number}" for number in range(3)]
    for name in names:
        site.make(name, "hello")
    screen = site.signed_in()
    links = screen.sessions.get_by_role("link")
    expect(links.first).to_have_attribute("href", f"#/s/{names[-1]}")
    site.make(names[0], "again")
    expect(links.first).to_have_attribute("href", f"#/s/{names[0]}")


def test_unread_goes_when_it_is_read_anywhere(site: Site, sid: str) -> None:
    site.make(sid, "first")
    at_list, reader = site.signed_in(), site.signed_in(to=sid)
    link = at_list.link_to(sid)
    expect(link).to_have_attribute("data-unread", "0")
    reader.go("#/")
    with site.phone() as phone:
        phone.attach(sid)
        phone.ask(sid, "second")
        phone.ask(sid, "third")
    expect(link).not_to_have_attribute("data-unread", "0")
    unread = link.get_attribute("data-unread")
    assert unread
    assert int(unread) > 0
    expect(link).to_contain_text(unread)
    reader.open(sid)
    expect(reader.answers.last).to_contain_text("echo: third")
    expect(link).to_have_attribute("data-unread", "0")


def test_a_new_session(site: Site) -> None:
    screen = site.signed_in()
    screen.button("New session").click()
    dialog = screen.page.get_by_role("dialog", name="New session", exact=True)
    expect(dialog).to_be_visible()
    agent = dialog.get_by_label("Agent", exact=True)
    assert agent.evaluate("one => one.tagName") == "SELECT"
    values = agent.locator("option").evaluate_all("all => all.map((one) => one.value)")
    assert {"claude", "codex", "echo"} <= set(values)
    agent.select_option("echo")
    screen.button("Create", dialog).click()
    expect(dialog).to_have_count(0)
    expect(screen.page).to_have_url(re.compile(r"#/s/[A-Za-z0-9._-]+$"))
    screen.wait_live()
    screen.ask("hello", "echo: hello")
    other = site.signed_in()
    other.page.goto(screen.page.url)
    expect(other.answers.last).to_contain_text("echo: hello")


def test_a_folder_is_chosen_and_a_worktree_made_of_it(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n", "inner/b.txt": "b\n"}, folder="picked")
    work.write({"a.txt": "two\n"})
    with site.phone() as phone:
        work.attach(phone)
    screen = site.signed_in()
    screen.button("New session").click()
    dialog = screen.page.get_by_role("dialog", name="New session", exact=True)
    dialog.get_by_label("Agent", exact=True).select_option("echo")
    dialog.get_by_text("Folder, model and mode").click()
    screen.button("Browse", dialog).click()
    picker = screen.page.get_by_role("dialog", name="Choose a folder", exact=True)
    recent = picker.get_by_role("button", name=str(work.folder))
    expect(recent).to_contain_text("changed files")
    assert faults(screen.page) == []
    picker.get_by_role("button", name=re.compile("^picked")).click()
    expect(picker.get_by_role("status")).to_have_text(str(work.folder))
    picker.get_by_role("button", name="inner").click()
    expect(picker.get_by_text("There are no folders in it.")).to_be_visible()
    screen.button("Up", picker).click()
    expect(picker.get_by_role("status")).to_have_text(str(work.folder))
    screen.button("Use this folder", picker).click()
    expect(dialog.get_by_label("Workspace")).to_have_value(str(work.folder))
    dialog.get_by_label("In a git worktree of its own").check()
    screen.button("Create", dialog).click()
    screen.wait_live()
    screen.ask("hello", "echo: hello")
    with site.phone() as phone:
        made = phone.attach(screen.page.url.rpartition("/")[2], agent=None)
    assert made["worktree"]["branch"].startswith("builderos/s-")
    tree = Path(made["settings"]["workspace"])
    assert (tree / "a.txt").read_text() == "one\n"
    (tree / "new.txt").write_text("nowhere else\n")
    screen.page.reload()
    screen.wait_live()
    screen.button("Details").click()
    details = screen.page.get_by_role("dialog", name="Details", exact=True)
    expect(details).to_contain_text("changes that are not committed")
    screen.button("Delete").click()
    sure = screen.page.get_by_role("dialog", name="Are you sure?", exact=True)
    screen.button("Delete", sure).click()
    expect(sure).to_contain_text("changes that are not committed")
    screen.button("Delete anyway", sure).click()
    expect(screen.page).to_have_url(re.compile("#/$"))
    assert not tree.exists()


def test_a_dialog_goes_with_escape(site: Site) -> None:
    screen = site.signed_in()
    screen.button("New session").click()
    dialog = screen.page.get_by_role("dialog", name="New session", exact=True)
    expect(dialog).to_be_visible()
    screen.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(screen.button("New session")).to_be_focused()


def test_from_the_list_and_back(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    for size in (PHONE, TABLET, DESKTOP):
        screen = site.signed_in(size=size)
        expect(screen.sessions).to_be_visible()
        screen.link_to(sid).click()
        expect(screen.page).to_have_url(re.compile(f"#/s/{re.escape(sid)}$"))
        expect(screen.answers.last).to_contain_text("echo: hello")
        screen.page.go_back()
        expect(screen.sessions).to_be_visible()
        expect(screen.link_to(sid)).to_be_visible()
        screen.page.go_forward()
        expect(screen.answers.last).to_contain_text("echo: hello")


def test_many_sessions(site: Site, sid: str) -> None:
    """More than one page of the list; each can be reached."""
    with site.phone() as phone:
        for number in range(120):
            phone.attach(f"{sid}-{number:03d}")
    screen = site.signed_in()
    oldest = screen.link_to(f"{sid}-000")
    for _ in range(12):
        if oldest.count():
            break
        screen.sessions.get_by_role("link").last.scroll_into_view_if_needed()
        more = screen.page.get_by_role("button", name=re.compile("more|older", re.IGNORECASE))
        if more.count():
            more.first.click()
    expect(oldest).to_be_attached()


def test_a_session_that_is_not_there(site: Site, sid: str) -> None:
    screen = site.signed_in()
    screen.go(f"#/s/{sid}")
    expect(
        screen.page.get_by_text(re.compile("no such|not there|does not exist|not found", re.IGNORECASE)).first
    ).to_be_visible()


def test_a_session_that_somebody_else_makes_now(site: Site, sid: str) -> None:
    screen = site.signed_in()
    screen.go(f"#/s/{sid}")
    expect(screen.page.get_by_text("This session does not exist any more.")).to_be_visible()
    with site.phone() as phone:
        phone.attach(sid)
        phone.ask(sid, "made elsewhere")
    expect(screen.answers.last).to_contain_text("echo: made elsewhere")
    expect(screen.box).to_be_visible()


# ---- search ----


def test_search_finds_and_a_hit_is_brought_into_view(site: Site, sid: str) -> None:
    site.make(sid, "quokka in the attic", *(f"filler {number}" for number in range(30)))
    screen = site.signed_in()
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("quokka attic")
    box.press("Enter")
    results = screen.page.get_by_role("list", name="Search results", exact=True)
    expect(results.get_by_role("link").first).to_contain_text("quokka")
    results.get_by_role("link").filter(has_text="quokka").first.click()
    found = screen.articles.filter(has_text="quokka in the attic").first
    expect(found).to_be_in_viewport()
    expect(screen.articles.filter(has_text="filler 0").first).to_be_attached()


def test_a_hit_leads_there_again_after_scrolling_away(site: Site, sid: str) -> None:
    site.make(sid, "platypus by the river", *(f"filler {number}" for number in range(30)))
    screen = site.signed_in(size=DESKTOP)
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("platypus river")
    box.press("Enter")
    hit = screen.page.get_by_role("list", name="Search results", exact=True).get_by_role("link").last
    found = screen.articles.filter(has_text="platypus by the river").first
    for _ in range(2):
        hit.click()
        expect(found).to_be_in_viewport()
        screen.button("Jump to latest").click()
        expect(found).not_to_be_in_viewport()


def test_no_message_lies_over_the_way_to_the_newest(site: Site, sid: str) -> None:
    site.make(sid, *(f"filler {number} " * 30 for number in range(20)))
    screen = site.signed_in(size=DESKTOP, to=sid)
    expect(screen.questions.last).to_be_in_viewport()
    expect(screen.articles).to_have_count(40)
    screen.log.evaluate("(log) => { log.scrollTop = 0; }")
    newest = screen.button("Jump to latest")
    expect(newest).to_be_visible()
    screen.questions.nth(10).evaluate(
        """(question) => {
            const middle = (one) => one.getBoundingClientRect().top + one.getBoundingClientRect().height / 2;
            const log = question.closest("[role=log]");
            log.scrollTop += middle(question) - middle(log.parentElement.querySelector(":scope > button"));
        }"""
    )
    newest.click()
    expect(screen.questions.last).to_be_in_viewport()


def test_a_hit_takes_a_few_lines_however_long_its_words(site: Site, sid: str) -> None:
    site.make(sid, "wombat" * 3000)
    screen = site.signed_in()
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("wombatwombat")
    box.press("Enter")
    hit = screen.page.get_by_role("list", name="Search results", exact=True).get_by_role("link").first
    expect(hit).to_be_visible()
    assert hit.evaluate("(link) => link.getBoundingClientRect().height") < 250


def test_a_part_that_does_not_load_leaves_the_list_as_it_is(site: Site, sid: str) -> None:
    for name in (sid, f"{sid}-2"):
        site.make(name)
    screen = site.screen()
    screen.page.route(re.compile(r"/js/views/(filters|hits)\.js"), lambda route: route.abort())
    screen.go(f"#key={site.key}")
    expect(screen.link_to(sid)).to_be_visible()
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("anything")
    box.press("Enter")
    expect(screen.page.get_by_text("Couldn't load this part of the page.")).to_be_visible()


def test_search_without_a_hit(site: Site) -> None:
    screen = site.signed_in()
    box = screen.page.get_by_role("searchbox", name="Search", exact=True)
    box.fill("no-such-word-anywhere")
    box.press("Enter")
    results = screen.page.get_by_role("list", name="Search results", exact=True)
    expect(results.get_by_role("link")).to_have_count(0)
    expect(
        screen.page.get_by_text(re.compile("nothing|no results|no hits|not found", re.IGNORECASE)).first
    ).to_be_visible()


# ---- the first visit ----


def test_a_first_visit_says_what_is_missing(site: Site, tmp_path: Path) -> None:
    with run_shared(tmp_path) as fresh:
        screen = site.screen(url=fresh.url)
        screen.go(f"#key={fresh.key}")
        expect(screen.button("New session")).to_be_visible()
        text = screen.page.locator("body")
        for part in ("claude", "not signed in", "/login", "codex", "login"):
            expect(text).to_contain_text(part)


def test_a_title_and_an_export(site: Site, sid: str) -> None:
    """What section 7 leaves open: the button `Details` of a session holds both."""
    site.make(sid, "hello")
    screen, other = site.signed_in(to=sid), site.signed_in()
    screen.button("Details").click()
    details = screen.page.get_by_role("dialog", name="Details", exact=True)
    with screen.page.expect_download() as downloading:
        screen.button("Markdown", details).click()
    assert downloading.value.suggested_filename == f"{sid}.md"
    assert "> hello" in Path(downloading.value.path()).read_text()
    details.get_by_label("Title").fill("Summer holidays")
    screen.button("Save title", details).click()
    expect(other.link_to(sid)).to_contain_text("Summer holidays")
    expect(screen.page.get_by_role("heading", name="Summer holidays")).to_be_visible()


def test_an_older_address_with_an_ios_id_finds_its_session(site: Site) -> None:
    phone = "0A1B2C3D-1111-4222-8333-444444444444"
    own = f"{phone}-claude-5E6F7A8B-1111-4222-8333-444444444444"
    site.make(own, "from the phone")
    screen = site.signed_in()
    screen.page.goto(f"{site.server.url}/#/s/{own}")
    expect(screen.page).to_have_url(re.compile(r"#/s/ios-[0-9a-f]{12}$"))
    expect(screen.page.get_by_role("log")).to_contain_text("from the phone")
    screen.page.goto(f"{site.server.url}/#/s/{own.replace('claude', 'codex')}")
    expect(screen.page).to_have_url(re.compile(r"#/$"))
