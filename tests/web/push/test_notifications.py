"""Web Push as a whole: server, push service, the real service worker, and a tap on Allow (PROTOCOL section 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.shared_server import Shared, run_shared
from tests.web.browser import Restarted, Site
from tests.web.push.browser import Receiver, Worker
from tests.web.push.service import PushService, open_push_service

COMMAND = "rm -rf build && make && echo done"

CONFIG = """
[push]
contact = "mailto:me@example.org"
detail = "request"
hosts = ["{host}"]
escalate_s = 0.5
"""

SHOWN = """async () => (await (await navigator.serviceWorker.ready).getNotifications()).map(
  (one) => [one.tag, one.body, one.silent ?? false, one.actions.map((act) => act.action)])"""

TAP = """async ([tag, action]) => {
  const [notification] = await self.registration.getNotifications({tag});
  self.dispatchEvent(new NotificationEvent("notificationclick", {notification, action}));
}"""


@pytest.fixture
def browser(chromium: Restarted) -> Browser:
    """A browser that shows notifications."""
    return chromium.browser(whole=True)


@pytest.fixture(scope="module")
def service() -> Iterator[PushService]:
    with open_push_service() as service:
        yield service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, service: PushService) -> Iterator[Shared]:
    with run_shared(tmp_path_factory.mktemp("push"), CONFIG.format(host=service.url)) as server:
        yield server


def worker_page(page: Page, url: str) -> Any:
    """Return the app's worker, for scripts."""
    return next(one for one in page.context.service_workers if one.url == f"{url}/sw.js")


def test_a_request_is_allowed_on_its_card(site: Site, service: PushService, sid: str) -> None:
    url = site.server.url
    profile = site.profile(service_workers="allow")
    profile.grant_permissions(["notifications"], origin=url)
    mine = Receiver.make(profile, url, f"{service.url}/mine")
    mine.subscribe_in(profile)
    theirs = Receiver.make(site.profile(), url, f"{service.url}/theirs")
    screen = site.signed_in(profile)
    screen.wait_worker()
    page = screen.page

    # The person turns it on, and sends a test.
    screen.button("Settings").click()
    screen.button("Turn on notifications").click()
    expect(screen.button("Send a test")).to_be_visible()
    screen.button("Send a test").click()
    told = mine.open(service.next("/mine").body)
    assert (told["web_push"], told["mutable"], told["data"]["kind"]) == (8030, True, "test")
    expect(page.get_by_text("The push service took the test.")).to_be_visible()
    page.get_by_label("When an agent has finished").uncheck()
    with site.http() as http:
        tablet = http.post("/api/devices", json={"name": "tablet", "scope": "approve"}).json()
        body = {
            "platform": "web",
            "device_id": "tablet",
            "subscription": theirs.subscription,
            "origin": "https://box.example.org",
        }
        answer = http.post("/api/notifications/register", json=body, headers={"X-API-Key": tablet["key"]})
        assert answer.json()["success"] is True
        (own,) = http.get("/api/notifications").json()["channels"]
        assert own["wants"] == {"decision": True, "finished": False, "failed": True}
        assert len(http.get("/api/notifications?all=1").json()["channels"]) == 2
    page.goto("about:blank")  # nobody looks, and no page of the site is open

    with site.phone() as phone:
        phone.attach(sid, device_id="ipad")
        phone.say("focus", session_id=None, visible=False)
        phone.send(sid, f"/ask {COMMAND}")
        request = phone.wait_for("permission_requested")

        # Both are notified, one after the other; the card has the whole command.
        pushed = {name: service.next(f"/{name}") for name in ("mine", "theirs")}
        card = mine.open(pushed["mine"].body)
        first = theirs.open(pushed["theirs"].body)
        assert len(pushed["mine"].body) % 1024 == (16 + 5 + 65 + 1 + 16) % 1024, "padded"
        assert COMMAND in card["notification"]["body"]
        assert card["notification"]["navigate"] == f"{url}/#/s/{sid}"
        assert card["data"]["buttons"] == ["allow", "deny"]
        assert card["data"]["request_id"] == request["request_id"]
        assert (pushed["mine"].headers["urgency"], pushed["mine"].headers["topic"]) == (
            "high",
            card["data"]["alert_id"],
        )

        # The worker shows it, without a page, and once although it comes twice.
        worker = Worker.of(page, url)
        tag = card["notification"]["tag"]
        for _ in range(2):
            worker.deliver(mine.text(pushed["mine"].body))
        mine.helper.wait_for_function(f"async () => ({SHOWN})().then((found) => found[0]?.[0] === '{tag}')")
        assert len(mine.helper.evaluate(SHOWN)) == 1
        worker_page(page, url).evaluate(TAP, [tag, "allow"])
        resolved = phone.wait_for("permission_resolved")
        assert resolved["decision"] == "allow"
        label = own["device_id"]
        assert resolved["by_device"] == label
        phone.wait_for("complete")

    # The other device's card is replaced, silently, by what became of it.
    last = theirs.open(service.next("/theirs").body)
    assert last["notification"]["tag"] == first["notification"]["tag"]
    assert last["data"]["alert_id"] == first["data"]["alert_id"]
    assert (last["notification"]["silent"], last["data"]["buttons"]) == (True, [])
    assert last["notification"]["body"] == f"Allowed by {label}"

    # Why: in sentences, over HTTP and on the page.
    screen.go("#/")
    with site.http() as http:
        (why,) = [
            one
            for one in http.get(f"/api/notifications/why?session_id={sid}").json()["alerts"]
            if one["kind"] == "decision"
        ]
        states = {one["device_id"]: one["state"] for one in why["deliveries"]}
        assert states == {label: "acted", "tablet": "withdrawn"}
        assert why["by_device"] == label
        late = http.post(f"/api/sessions/{sid}/requests/{request['request_id']}", json={"decision": "deny"})
        assert (late.status_code, late.json()["error"]["by_device"]) == (409, label)
        unknown = http.post(f"/api/sessions/{sid}/requests/none", json={"decision": "deny"})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_request")
    screen.button("Settings").click()
    page.get_by_text("Recent alerts").click()
    expect(page.get_by_text("tapped or dismissed it on the device").first).to_be_visible()

    # A card whose request is closed says so; signing out leaves no card and no subscription.
    worker.deliver(mine.text(pushed["mine"].body))
    page.wait_for_function(f"async () => ({SHOWN})().then((found) => found.length === 1)")
    worker_page(page, url).evaluate(TAP, [tag, "deny"])
    page.wait_for_function(
        f"async () => ({SHOWN})().then((found) => found[0]?.[1] === 'Already answered by {label}.')"
    )
    screen.shoot("notifications-phone")
    screen.button("Sign out of this device").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()
    page.wait_for_function("() => localStorage.getItem('test.sub') === null")
    secrets = (site.server.data.parent / "stderr.log").read_text() + (
        site.server.data / "server.log"
    ).read_text()
    for secret in (COMMAND, mine.endpoint, mine.keys["auth"], mine.keys["p256dh"], site.key):
        assert secret not in secrets
