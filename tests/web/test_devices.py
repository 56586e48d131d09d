"""This device's key: codes and links, pairing another device, removal, signing out; and what the device keeps."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.web.browser import Site
from tests.web.stage import open_stage


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
    pair = screen.dialog("Pair a device")
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
    sure = screen.dialog("Are you sure?")
    expect(sure).to_contain_text("Messages that wait to be sent are lost")
    screen.button("Sign out", sure).click()
    expect(screen.page.get_by_label("Key", exact=True)).to_be_visible()
