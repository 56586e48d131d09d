"""A conversation that several pages share: streams, turns, queue, decisions, tasks, files."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Locator, expect

from tests.web.world import DESKTOP, Screen, Site

WORDS = re.compile(r"\bw(\d+)\b")


def words_of(article: Locator) -> list[int]:
    return [int(word) for word in WORDS.findall(article.inner_text())]


def settle(*screens: Screen) -> None:
    """Wait until no turn runs."""
    for screen in screens:
        expect(screen.button("Stop")).to_have_count(0)


# ---- the stream ----


def test_two_pages_see_the_same(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid, size=DESKTOP)
    one.send("/words 200 10")
    for screen in (one, two):
        expect(screen.questions.last).to_contain_text("/words 200 10")
        expect(screen.answers.last).to_contain_text("w20 ")
    two.send("second")
    for screen in (one, two):
        expect(screen.answers).to_have_count(2)
        expect(screen.answers.nth(1)).to_contain_text("echo: second")
        assert words_of(screen.answers.first) == list(range(200))
    for screen in (one, two):
        roles = [article.get_attribute("data-role") for article in screen.articles.all()]
        assert roles == ["user", "assistant", "user", "assistant"], "the order of the journal"
        expect(screen.questions.nth(0)).to_contain_text("/words 200 10")
        expect(screen.questions.nth(1)).to_contain_text("second")


def test_text_grows_and_never_shrinks(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.page.evaluate(
        """() => {
            window.lengths = [];
            const look = () => {
                const all = document.querySelectorAll('[role=log] [data-role=assistant]');
                if (all.length) window.lengths.push(all[all.length - 1].textContent.length);
            };
            new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
        }"""
    )
    screen.send("/words 60 15")
    expect(screen.answers.last).to_contain_text("w59")
    lengths: list[int] = screen.page.evaluate("() => window.lengths.filter((n, i, all) => n !== all[i - 1])")
    assert len(lengths) > 10, "it came in one piece"
    drops = [(one, two) for one, two in pairwise(lengths) if two < one - 40]
    assert drops == [], "shown text was taken away"


def test_a_reload_in_the_middle_of_a_stream(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/words 150 20")
    expect(screen.answers.last).to_contain_text("w10 ")
    screen.page.reload()
    expect(screen.answers.last).to_contain_text("w149")
    settle(screen)
    assert words_of(screen.answers.last) == list(range(150))
    expect(screen.articles).to_have_count(2)
    screen.wait_live()


def test_what_comes_while_reading_far_up_moves_nothing(site: Site, sid: str) -> None:
    site.make(sid, *(f"filler {number}." for number in range(25)))
    screen = site.signed_in(to=sid)
    expect(screen.answers.last).to_contain_text("echo: filler 24.")
    expect(screen.articles.last).to_be_in_viewport()
    read = screen.questions.filter(has_text="filler 12.")
    read.scroll_into_view_if_needed()
    expect(read).to_be_in_viewport()
    expect(screen.articles.last).not_to_be_in_viewport()
    before = read.bounding_box()
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.ask(sid, "/words 300")
    expect(screen.answers.last).to_contain_text("w299")
    after = read.bounding_box()
    assert before is not None
    assert after is not None
    assert abs(after["y"] - before["y"]) < 2, "the reader's place moved"
    expect(screen.articles.last).not_to_be_in_viewport()


def test_whoever_is_at_the_end_stays_there(site: Site, sid: str) -> None:
    site.make(sid, *(f"filler {number}." for number in range(10)))
    screen = site.signed_in(to=sid)
    expect(screen.answers.last).to_contain_text("echo: filler 9.")
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.ask(sid, "/words 500")
    expect(screen.answers.last).to_contain_text("w499")
    foot = (
        "Array.from(document.querySelectorAll('[role=log] [data-role]')).pop().getBoundingClientRect().bottom"
    )
    edge = "document.querySelector('[role=log]').getBoundingClientRect().bottom"
    screen.page.wait_for_function(f"() => {foot} <= {edge} + 80")


def test_markdown_and_colours_come_at_the_end(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    # The practice agent splits at white space, so this is one line.
    screen.send("**bold** and `code`")
    answer = screen.answers.last
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("code")).to_have_text("code")
    screen.page.reload()
    expect(screen.answers.last.locator("strong")).to_have_text("bold")
    other = site.signed_in(to=sid)
    expect(other.answers.last.locator("strong")).to_have_text("bold")


def test_who_wrote_a_message(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.ask(sid, "from the kitchen")
    expect(screen.questions.last).to_contain_text("from the kitchen")
    expect(screen.questions.last).to_contain_text("kitchen-tablet")


# ---- nothing that is said runs ----

HOSTILE = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<svg onload=window.hacked=1>",
    "[press](javascript:window.hacked=1)",
    "[press](JaVaScRiPt:window.hacked=1)",
    "![x](javascript:window.hacked=1)",
    "<a href='javascript:window.hacked=1'>press</a>",
    "<iframe src=javascript:parent.hacked=1></iframe>",
    '"><script>window.hacked=1</script>',
    "`<script>window.hacked=1</script>` **unclosed _broken `code [link](",
    "<style>*{display:none!important}</style>",
    "<div role=alertdialog aria-label=Permission>fake</div>",
    "![pixel](https://example.com/pixel.png)",
    "{{constructor.constructor('window.hacked=1')()}} ${window.hacked=1}",
)


def test_a_hostile_answer_runs_nothing(site: Site, sid: str) -> None:
    site.make(sid)
    screen, other = site.signed_in(to=sid), site.signed_in(to=sid)
    asked: list[str] = []
    for page in (screen.page, other.page):
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(f"dialog {dialog.message}"))
    for number, text in enumerate(HOSTILE):
        screen.send(text)
        expect(screen.answers).to_have_count(number + 1)
        expect(screen.button("Stop")).to_have_count(0)
    other.wait_live()
    expect(other.answers).to_have_count(len(HOSTILE))
    other.page.reload()
    expect(other.answers).to_have_count(len(HOSTILE))
    for one in (screen, other):
        for link in one.log.get_by_role("link").all():
            address = link.get_attribute("href") or ""
            assert re.match(r"https?:|mailto:|#|/", address), address
        assert one.log.locator("script, iframe, object, embed, img[onerror], svg[onload], style").count() == 0
        assert one.page.evaluate("() => window.hacked") is None
        expect(one.permission).to_have_count(0)
        expect(one.log).to_contain_text("<script>window.hacked=1</script>")
        expect(one.log).to_contain_text("<img src=x onerror=window.hacked=1>")
    own = (site.server.url, site.server.url.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []


def test_hostile_names_run_nothing(site: Site, sid: str) -> None:
    title = "<img src=x onerror=window.hacked=1>"
    site.make(sid, f"/task {title}")
    with site.phone() as phone:
        phone.attach(sid, device_id="ipad")
        phone.say("rename", session_id=sid, title=title)
        phone.wait_for("session_updated")
    screen = site.signed_in()
    expect(screen.link_to(sid)).to_contain_text(title)
    screen.open(sid)
    expect(screen.page.get_by_text(title).first).to_be_visible()
    with site.phone() as phone:
        phone.attach(sid)
        phone.send(sid, f"/ask {title}")
        expect(screen.permission).to_contain_text(title)
        screen.button("Deny", screen.permission).click()
    expect(screen.permission).to_have_count(0)
    assert screen.page.evaluate("() => window.hacked") is None


# ---- queue, stop ----


def test_a_queued_message_is_taken_back_on_another_device(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    one.send("/hang")
    expect(one.button("Stop")).to_be_visible()
    expect(two.button("Stop")).to_be_visible()
    one.send("first in line")
    one.send("second in line")
    for screen in (one, two):
        waiting = screen.questions.filter(has_text="first in line")
        expect(waiting).to_contain_text("queued")
        expect(screen.button("Take back", waiting)).to_be_visible()
        expect(screen.questions.filter(has_text="second in line")).to_contain_text("queued")
    two.button("Take back", two.questions.filter(has_text="first in line")).click()
    for screen in (one, two):
        taken = screen.questions.filter(has_text="first in line")
        expect(taken).to_contain_text("cancelled")
        expect(taken).not_to_contain_text("queued")
        expect(screen.button("Take back", taken)).to_have_count(0)
    two.button("Stop").click()
    for screen in (one, two):
        expect(screen.answers.last).to_contain_text("echo: second in line")
        expect(screen.questions.filter(has_text="second in line")).not_to_contain_text("queued")
        expect(screen.button("Stop")).to_have_count(0)
        expect(screen.button("Take back")).to_have_count(0)
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [(one["content"], one["status"]) for one in told if one["role"] == "user"] == [
        ("/hang", "interrupted"),
        ("first in line", "cancelled"),
        ("second in line", "answered"),
    ]


def test_stop_is_there_while_a_turn_runs(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    expect(screen.button("Stop")).to_have_count(0)
    screen.send("/words 1000 20")
    expect(screen.answers.last).to_contain_text("w5 ")
    screen.button("Stop").click()
    expect(screen.button("Stop")).to_have_count(0)
    with site.http() as http:
        assert http.get(f"/api/sessions/{sid}/messages").json()["messages"][-1]["status"] == "interrupted"


def test_a_turn_that_fails_says_why(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/garbage")
    expect(screen.button("Stop")).to_have_count(0)
    expect(screen.log).to_contain_text(re.compile("protocol|agent", re.IGNORECASE))
    screen.ask("goes on", "echo: goes on")


# ---- decisions ----


def test_a_decision_closes_it_everywhere(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid, size=DESKTOP)
    for button, line, answer in (("Allow", "Allowed by", "allowed"), ("Deny", "Denied by", "denied")):
        one.send(f"/ask may I {button}")
        for screen in (one, two):
            expect(screen.permission).to_be_visible()
            expect(screen.permission).to_contain_text("practice")
            expect(screen.permission).to_contain_text(f"may I {button}")
            for name in ("Allow", "Deny", "Allow for this session"):
                expect(screen.button(name, screen.permission)).to_be_visible()
            inside = "() => document.activeElement.closest('[role=alertdialog], dialog') !== null"
            assert screen.page.evaluate(inside), "the focus is in it"
        two.button(button, two.permission).click()
        for screen in (one, two):
            expect(screen.permission).to_have_count(0)
            expect(screen.log).to_contain_text(line)
            expect(screen.answers.last).to_contain_text(answer)
    for screen in (one, two):
        assert screen.articles.count() == 4, "a decision is a line, not an article"


def test_the_focus_stays_in_the_dialog(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/ask keyboard")
    expect(screen.permission).to_be_visible()
    inside = "() => document.activeElement.closest('[role=alertdialog], dialog') !== null"
    seen = set()
    for key in ("Tab",) * 6 + ("Shift+Tab",) * 6:
        screen.page.keyboard.press(key)
        assert screen.page.evaluate(inside), key
        seen.add(screen.page.evaluate("() => document.activeElement.textContent.trim()"))
    assert {"Allow", "Deny", "Allow for this session"} <= seen
    screen.button("Deny", screen.permission).press("Enter")
    expect(screen.permission).to_have_count(0)
    expect(screen.answers.last).to_contain_text("denied")


def test_a_request_is_there_after_a_reload_and_goes_with_its_turn(site: Site, sid: str) -> None:
    site.make(sid)
    screen, other = site.signed_in(to=sid), site.signed_in(to=sid)
    screen.send("/ask still there")
    expect(screen.permission).to_be_visible()
    screen.page.reload()
    expect(screen.permission).to_contain_text("still there")
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.say("interrupt", session_id=sid)
        phone.wait_for("interrupted")
    for one in (screen, other):
        expect(one.permission).to_have_count(0)
        expect(one.log).to_contain_text("Cancelled")


def test_two_requests_one_after_another(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/ask one")
    expect(screen.permission).to_contain_text("one")
    with site.phone() as phone:
        phone.attach(sid)
        phone.send(sid, "/ask two")
    screen.button("Allow", screen.permission).click()
    expect(screen.permission).to_contain_text("two")
    screen.button("Allow", screen.permission).click()
    expect(screen.permission).to_have_count(0)
    expect(screen.answers).to_have_count(2)
    expect(screen.answers.last).to_contain_text("allowed")


# ---- tasks, files ----


def test_delegated_work_is_shown_until_the_next_turn(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    tasks = screen.page.get_by_role("region", name="Tasks", exact=True)
    screen.send("/task tidy the attic")
    expect(tasks).to_contain_text("tidy the attic")
    expect(tasks).to_contain_text("succeeded")
    expect(screen.answers.last).to_contain_text("done")
    screen.page.reload()
    expect(tasks).to_contain_text("tidy the attic")
    screen.ask("next", "echo: next")
    expect(tasks.get_by_text("tidy the attic")).to_have_count(0)


def test_a_file_goes_with_a_message(site: Site, sid: str, tmp_path: Path) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    path = tmp_path / "shopping list.txt"
    path.write_text("quinces")
    with one.page.expect_file_chooser() as choosing:
        one.button("Attach file").click()
    choosing.value.set_files(path)
    expect(one.page.get_by_text("shopping list.txt").first).to_be_visible()
    one.send("look at this")
    for screen in (one, two):
        sent = screen.questions.filter(has_text="look at this")
        expect(sent).to_contain_text("shopping list.txt")
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [(file["filename"], file["size"]) for file in told[0]["attachments"]] == [("shopping list.txt", 7)]


# ---- writing ----


def test_a_draft_follows_the_person(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    one.box.fill("half a thought")
    expect(two.box).to_have_value("half a thought")
    third = site.signed_in(to=sid)
    expect(third.box).to_have_value("half a thought")
    third.button("Send").click()
    for screen in (one, two, third):
        expect(screen.answers.last).to_contain_text("echo: half a thought")
        expect(screen.box).to_have_value("")


def test_what_one_types_is_not_overwritten(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.box.press_sequentially("mine")
    with site.phone() as phone:
        phone.attach(sid, device_id="other")
        phone.ask(sid, "in between")
    expect(screen.answers.last).to_contain_text("echo: in between")
    screen.box.press_sequentially(" goes on")
    expect(screen.box).to_have_value("mine goes on")


def test_messages_are_sent_once_for_every_press(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    for number in range(5):
        screen.send(f"m{number}")
    expect(screen.answers).to_have_count(5)
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [one["content"] for one in told if one["role"] == "user"] == [f"m{n}" for n in range(5)]


def test_reading_aloud_is_offered(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    has = screen.page.evaluate("() => 'speechSynthesis' in window")
    assert has
    expect(screen.button("Read aloud", screen.answers.last)).to_be_attached()
