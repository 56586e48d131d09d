"""A conversation that several pages share: the stream, what agents say, what people write."""

from __future__ import annotations

import re
from itertools import pairwise

from playwright.sync_api import Locator, expect

from tests.web.browser import DESKTOP, Screen, Site

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
    screen.send("/words 100000 15")
    screen.page.wait_for_function("() => new Set(window.lengths).size > 10")
    screen.button("Stop").click()
    settle(screen)
    lengths: list[int] = screen.page.evaluate("() => window.lengths.filter((n, i, all) => n !== all[i - 1])")
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


def place_of(part: Locator) -> float:
    """Return how far below the window's top it is, once it has stood still for ten frames."""
    place: float = part.evaluate(
        """part => new Promise((resolve) => {
            let last, still = 0;
            const look = () => {
                const place = part.getBoundingClientRect().top;
                still = place === last ? still + 1 : 0;
                last = place;
                if (still < 10) requestAnimationFrame(look);
                else resolve(place);
            };
            look();
        })"""
    )
    return place


def test_what_comes_while_reading_far_up_moves_nothing(site: Site, sid: str) -> None:
    site.make(sid, *(f"filler {number}." for number in range(25)))
    screen = site.signed_in(to=sid)
    expect(screen.answers.last).to_contain_text("echo: filler 24.")
    expect(screen.articles.last).to_be_in_viewport()
    read = screen.questions.filter(has_text="filler 12.")
    read.scroll_into_view_if_needed()
    expect(read).to_be_in_viewport()
    expect(screen.articles.last).not_to_be_in_viewport()
    before = place_of(read)
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.ask(sid, "/words 300")
    expect(screen.answers.last).to_contain_text("w299")
    assert abs(place_of(read) - before) < 2, "the reader's place moved"
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
    # The test agent splits at white space, so this is one line.
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
