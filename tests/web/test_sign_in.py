"""Coming in and going out: key, links with a key or a code, and what is left in the browser."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.web.browser import Screen, Site, Workers
from tests.web.kept import STORED


@pytest.fixture
def workers() -> Workers:
    return "allow"


def field(screen: Screen) -> Any:
    return screen.page.get_by_label("Key", exact=True)


def test_a_key_signs_in(site: Site) -> None:
    screen = site.screen()
    screen.go("")
    expect(field(screen)).to_be_visible()
    expect(screen.sessions).to_have_count(0)
    field(screen).fill("not-the-key")
    screen.button("Sign in").click()
    expect(screen.page.get_by_role("alert")).to_be_visible()
    expect(screen.page.get_by_role("alert")).not_to_have_text("")
    expect(field(screen)).to_be_visible()
    field(screen).fill(site.key)
    screen.button("Sign in").click()
    expect(screen.sessions).to_be_visible()
    screen.wait_live()
    assert site.key not in screen.page.url
    screen.page.reload()
    expect(screen.sessions).to_be_visible()


def test_enter_signs_in_too(site: Site) -> None:
    screen = site.screen()
    screen.go("")
    field(screen).fill(site.key)
    field(screen).press("Enter")
    expect(screen.sessions).to_be_visible()


def test_a_link_with_the_key(site: Site) -> None:
    screen = site.screen()
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    assert "key=" not in screen.page.url
    assert site.key not in str(screen.page.evaluate("() => JSON.stringify(history.state)"))
    screen.page.go_back()
    assert site.key not in screen.page.url


def test_a_link_with_a_wrong_key(site: Site) -> None:
    screen = site.screen()
    screen.go("#key=wrong-key")
    expect(screen.page.get_by_role("alert")).to_be_visible()
    expect(field(screen)).to_be_visible()
    assert "wrong-key" not in screen.page.url


def test_a_key_in_a_link_to_an_open_page(site: Site) -> None:
    """A link that only changes the fragment loads nothing again."""
    screen = site.screen()
    screen.go("")
    expect(field(screen)).to_be_visible()
    screen.go(f"#key={site.key}")
    expect(screen.sessions).to_be_visible()
    assert site.key not in screen.page.url


def test_signing_out_leaves_nothing(site: Site, sid: str) -> None:
    secret = "quokka-in-the-attic"
    screen = site.signed_in()
    site.make(sid, "first")
    screen.open(sid)
    screen.ask(secret, f"echo: {secret}")
    assert site.key in screen.page.evaluate(STORED)
    screen.go("#/")
    screen.button("Sign out").click()
    expect(field(screen)).to_be_visible()
    left = screen.page.evaluate(STORED)
    assert site.key not in left
    assert secret not in left
    assert sid not in left
    screen.page.reload()
    expect(field(screen)).to_be_visible()
    screen.go(f"#/s/{sid}")
    expect(field(screen)).to_be_visible()
    expect(screen.page.get_by_text(secret)).to_have_count(0)


def test_a_revoked_key_ends_the_visit(site: Site, sid: str) -> None:
    site.make(sid)
    with site.http() as http:
        made = http.post("/api/devices", json={"name": "guest", "scope": "drive"}).json()
        screen = site.signed_in(key=made["key"], to=sid)
        assert http.delete(f"/api/devices/{made['id']}").status_code == 200
    expect(field(screen)).to_be_visible()


def test_a_key_that_may_only_look(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    with site.http() as http:
        made = http.post("/api/devices", json={"name": "guest", "scope": "view"}).json()
    screen = site.signed_in(key=made["key"], to=sid)
    expect(screen.answers.last).to_contain_text("echo: hello")
    with site.phone() as phone:
        phone.attach(sid)
        phone.ask(sid, "more")
    expect(screen.answers.last).to_contain_text("echo: more")


def test_every_profile_is_a_device_of_its_own_and_stays_it(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    labels: list[str] = []
    with site.phone() as phone:
        phone.attach(sid)
        for screen in (one, two, one):
            screen.page.reload()
            screen.wait_live()
            text = f"from {len(labels)}"
            screen.ask(text, f"echo: {text}")
            labels.append(phone.wait_for("user_message")["device_id"])
    assert labels[0] == labels[2]
    assert labels[0] != labels[1]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,128}", label) for label in labels)


# ---- what the page comes with ----


def test_headers_and_size(site: Site) -> None:
    answer = httpx.get(f"{site.server.url}/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    for name in ("object-src", "base-uri", "frame-ancestors"):
        assert f"{name} 'none'" in policy
    for foreign in ("http:", "https:", "ws:", "wss:", "*", "unsafe"):
        assert foreign not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]*\bsrc=)", answer.text), "an inline script"
    assert not re.search(r"\son[a-z]+=|<style|\sstyle=", answer.text)


def test_what_is_loaded_is_small(site: Site, sid: str) -> None:
    """HTML, CSS and JavaScript for sign-in, list and conversation: at most 153,600 bytes."""
    site.make(sid, "hello", "/task tidy", "```python\nx = 1\n```")
    screen = site.screen(site.profile(service_workers="block"))
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.go("")
    field(screen).fill(site.key)
    screen.button("Sign in").click()
    screen.link_to(sid).click()
    expect(screen.answers.last).to_contain_text("x = 1")
    paths = {url.removeprefix(site.server.url).partition("#")[0].partition("?")[0] for url in asked}
    code = {path for path in paths if path.endswith((".js", ".css", ".html", "/"))} | {"/sw.js"}
    assert len(code) > 3
    sizes = {path: len(httpx.get(site.server.url + path).content) for path in code}
    assert sum(sizes.values()) <= 153_600, sizes


def test_it_can_be_installed(site: Site) -> None:
    screen = site.signed_in()
    page = screen.page
    href = page.locator("link[rel=manifest]").get_attribute("href")
    assert href is not None
    answer = httpx.get(httpx.URL(f"{site.server.url}/").join(href))
    assert answer.headers["content-type"].startswith("application/manifest+json")
    manifest = json.loads(answer.text)
    assert manifest["name"]
    assert manifest["display"] in ("standalone", "fullscreen", "minimal-ui")
    assert manifest["theme_color"]
    icons = [tuple(icon["sizes"].split()) for icon in manifest["icons"]]
    assert {"192x192", "512x512"} <= {size for sizes in icons for size in sizes}
    for icon in manifest["icons"]:
        picture = httpx.get(httpx.URL(str(answer.url)).join(icon["src"]))
        assert picture.status_code == 200
        assert picture.headers["content-type"].startswith("image/")
    assert page.locator("meta[name=theme-color]").count() >= 1
    assert page.locator("link[rel=apple-touch-icon]").count() == 1
    session = page.context.new_cdp_session(page)
    screen.wait_worker()
    found = session.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # Chromium's incognito profiles cannot install anything; that is all it may hold against this one.
    assert [one["errorId"] for one in found if one["errorId"] != "in-incognito"] == []


def test_the_worker_is_asked_for_anew(site: Site) -> None:
    screen = site.signed_in()
    screen.wait_worker()
    told = screen.page.evaluate(
        "() => navigator.serviceWorker.ready.then((it) => [it.scope, it.active.scriptURL])"
    )
    assert told[0] == f"{site.server.url}/"
    worker = httpx.get(told[1])
    assert "no-cache" in worker.headers["cache-control"]


# ---- pairing ----


def test_a_code_makes_this_browser_a_device(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    with site.http() as http:
        told = http.post("/api/devices/pair", json={"name": "Kitchen tablet", "scope": "drive"}).json()
        screen = site.screen()
        screen.go(f"#pair={told['code']}")
        expect(screen.sessions).to_be_visible()
        assert told["code"] not in screen.page.url
        screen.open(sid)
        screen.ask("paired", "echo: paired")
        names = [one["name"] for one in http.get("/api/devices").json()["devices"]]
        assert "Kitchen tablet" in names
    again = site.screen()
    again.go(f"#pair={told['code']}")
    expect(again.page.get_by_role("alert")).to_be_visible()
    expect(field(again)).to_be_visible()
    assert told["code"] not in again.page.url
