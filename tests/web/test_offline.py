"""No network, a frozen one, and a server that is away: what is shown, what is kept, what is delivered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, WebSocketRoute, expect

from tests.web.browser import Screen, Site, Workers
from tests.web.wire import Wire, open_wire


@pytest.fixture
def workers() -> Workers:
    return "allow"


@pytest.fixture
def wire(site: Site) -> Iterator[Wire]:
    with open_wire(site.server.url) as wire:
        yield wire


def go_offline(profile: BrowserContext, wire: Wire) -> None:
    wire.cut()
    profile.set_offline(True)


def go_online(profile: BrowserContext, wire: Wire) -> None:
    wire.mend()
    profile.set_offline(False)


def contents(site: Site, sid: str) -> list[str]:
    """Return what the server has of the person's messages."""
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages", params={"limit": 500}).json()["messages"]
    return [one["content"] for one in told if one["role"] == "user"]


def open_cached(site: Site, wire: Wire, sid: str) -> tuple[BrowserContext, Screen]:
    """Return a page whose session this browser knows."""
    profile = site.profile()
    screen = site.signed_in(profile, to=sid, url=wire.url)
    screen.wait_worker()
    return profile, screen


def test_the_app_opens_without_a_network(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid, "hello", "there")
    profile, screen = open_cached(site, wire, sid)
    expect(screen.answers.last).to_contain_text("echo: there")
    go_offline(profile, wire)
    expect(screen.status).to_have_text("offline")
    screen.page.reload()
    expect(screen.status).to_have_text("offline")
    expect(screen.answers.last).to_contain_text("echo: there")
    expect(screen.questions.last).to_contain_text("there")
    screen.go("#/")
    expect(screen.link_to(sid)).to_be_visible()
    go_online(profile, wire)
    screen.wait_live()


def test_typed_offline_delivered_once(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid, "before")
    profile, screen = open_cached(site, wire, sid)
    expect(screen.answers.last).to_contain_text("echo: before")
    go_offline(profile, wire)
    expect(screen.status).to_have_text("offline")
    for text in ("one offline", "two offline"):
        screen.send(text)
        expect(screen.questions.last).to_contain_text(text)
        expect(screen.questions.last).to_contain_text("waiting to send")
    assert contents(site, sid) == ["before"]
    screen.page.reload()
    expect(screen.questions).to_have_count(3)
    expect(screen.articles.last).to_contain_text("two offline")
    expect(screen.articles.last).to_contain_text("waiting to send")
    go_online(profile, wire)
    screen.wait_live()
    expect(screen.answers.last).to_contain_text("echo: two offline")
    expect(screen.log).not_to_contain_text("waiting to send")
    expect(screen.questions).to_have_count(3)
    screen.page.reload()
    expect(screen.questions).to_have_count(3)
    assert contents(site, sid) == ["before", "one offline", "two offline"]


def test_two_tabs_deliver_once(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid, "before")
    profile, one = open_cached(site, wire, sid)
    two = site.screen(profile, url=wire.url)
    two.open(sid)
    go_offline(profile, wire)
    for screen in (one, two):
        expect(screen.status).to_have_text("offline")
    one.send("from the first tab")
    expect(one.questions.last).to_contain_text("waiting to send")
    two.send("from the second tab")
    expect(two.questions.last).to_contain_text("waiting to send")
    two.page.reload()
    expect(two.log).to_contain_text("from the first tab")
    expect(two.log).to_contain_text("from the second tab")
    go_online(profile, wire)
    for screen in (one, two):
        screen.wait_live()
        expect(screen.answers.last).to_contain_text("echo: from the second tab")
        expect(screen.log).not_to_contain_text("waiting to send")
        expect(screen.questions).to_have_count(3)
    assert contents(site, sid) == ["before", "from the first tab", "from the second tab"]


def test_a_network_that_breaks_is_found_and_replaced(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid, "before")
    _, screen = open_cached(site, wire, sid)
    wire.cut()
    expect(screen.status).to_have_text(re.compile("^(reconnecting|offline)$"))
    site.make(sid, "while away")
    wire.mend()
    screen.wait_live()
    expect(screen.answers.last).to_contain_text("echo: while away")


def test_a_network_that_says_nothing_is_reconnecting(site: Site, sid: str, wire: Wire) -> None:
    """The socket stands; only the heartbeats tell."""
    site.make(sid, "before")
    _, screen = open_cached(site, wire, sid)
    wire.freeze()
    expect(screen.status).to_have_text("reconnecting")
    wire.cut()
    wire.mend()
    screen.wait_live()
    screen.ask("after", "echo: after")


def test_a_break_in_mid_stream_leaves_no_gap(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid)
    _, screen = open_cached(site, wire, sid)
    screen.send("/words 200 15")
    expect(screen.answers.last).to_contain_text("w10 ")
    wire.cut()
    expect(screen.status).not_to_have_text("live")
    wire.mend()
    screen.wait_live()
    expect(screen.answers.last).to_contain_text("w199")
    found = [int(word) for word in re.findall(r"\bw(\d+)\b", screen.answers.last.inner_text())]
    assert found == list(range(200))
    expect(screen.articles).to_have_count(2)


def test_a_message_whose_answer_was_lost_is_delivered_once(site: Site, sid: str, wire: Wire) -> None:
    """The frame went out, `accepted` did not come back: the same id goes again."""
    site.make(sid)
    _, screen = open_cached(site, wire, sid)
    wire.freeze()
    screen.send("was it heard")
    expect(screen.status).to_have_text("reconnecting")
    wire.cut()
    wire.mend()
    screen.wait_live()
    expect(screen.answers.last).to_contain_text("echo: was it heard")
    expect(screen.log).not_to_contain_text("waiting to send")
    assert contents(site, sid) == ["was it heard"]
    expect(screen.questions).to_have_count(1)


def test_the_app_is_there_soon_after_the_worker_is(site: Site, wire: Wire) -> None:
    """Within a second of its activation, section 7 says."""
    profile = site.profile()
    screen = site.signed_in(profile, url=wire.url)
    screen.wait_worker()
    screen.page.evaluate(
        """async () => {
            for (;;) {
                for (const name of await caches.keys()) {
                    if (await (await caches.open(name)).match('/')) return;
                    if (await (await caches.open(name)).match('/index.html')) return;
                }
            }
        }"""
    )
    go_offline(profile, wire)
    fresh = site.screen(profile, url=wire.url)
    fresh.go("#/")
    expect(fresh.sessions).to_be_visible()
    expect(fresh.status).to_have_text("offline")


def test_there_is_one_status_and_its_text_is_whole(site: Site, sid: str, wire: Wire) -> None:
    site.make(sid, "hello")
    profile, screen = open_cached(site, wire, sid)
    for fragment in ("#/", f"#/s/{sid}"):
        screen.go(fragment)
        screen.wait_live()
        assert screen.page.get_by_role("status").count() == 1
    go_offline(profile, wire)
    expect(screen.status).to_have_text("offline")
    assert screen.page.get_by_role("status").count() == 1


def test_behind_is_told_by_heartbeats(site: Site, sid: str) -> None:
    """Events that do not arrive while heartbeats do: the page knows how many it lacks."""
    site.make(sid)
    screen = site.screen()
    held: list[tuple[WebSocketRoute, str | bytes]] = []
    holding = False

    def pass_on(page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()

        def from_server(message: str | bytes) -> None:
            if holding and "seq" in json.loads(message):
                held.append((page_side, message))
            else:
                page_side.send(message)

        page_side.on_message(server_side.send)
        server_side.on_message(from_server)

    screen.page.route_web_socket(re.compile("/api/ws$"), pass_on)
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    screen.open(sid)
    holding = True
    with site.phone() as phone:
        phone.attach(sid)
        phone.ask(sid, "hello")
        head = phone.frames[-1]["seq"]
    expect(screen.status).to_have_text(f"behind by {head}")
    holding = False
    for page_side, message in held:
        page_side.send(message)
    expect(screen.status).to_have_text("live")
    expect(screen.answers.last).to_contain_text("echo: hello")
