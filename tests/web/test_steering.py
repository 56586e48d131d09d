"""A session that can be steered: mode and model, what is left of the context, the to-do list, limits, forks, tidying."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from playwright.sync_api import Route, expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, Site, Size
from tests.web.stage import open_stage

OFFER: dict[str, Any] = {
    "models": [
        {"id": "small", "name": "Small", "description": "Quick", "efforts": [], "default": True},
        {"id": "large", "name": "Large", "description": "Thinks", "efforts": ["low", "high"]},
    ],
    "modes": [
        {"id": "default", "kind": "ask", "name": "Ask", "description": "Asks before it acts"},
        {"id": "plan", "kind": "plan", "name": "Plan", "description": ""},
    ],
    "commands": [],
    "mcp_servers": [],
    "applies": {"model": "now", "permission_mode": "now", "effort": "next_turn"},
    "can": ["steer", "fork"],
}


def test_mode_and_model_are_changed_from_the_box(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.tell("agent", agent=OFFER)
    chip = screen.page.get_by_role("button", name=re.compile("^Mode and model"))
    expect(chip).to_have_text("Ask first · Small")
    chip.click()
    sheet = screen.page.get_by_role("dialog", name="Mode and model", exact=True)
    expect(sheet).to_be_visible()
    assert faults(screen.page) == []
    expect(sheet.get_by_label("Effort")).to_have_count(0)
    sheet.get_by_label("Permission mode").select_option("plan")
    assert stage.wait_sent("configure")["settings"] == {"permission_mode": "plan"}
    sheet.get_by_label("Model").select_option("large")
    assert stage.wait_sent("configure", 2)["settings"] == {"model": "large"}
    settings = {"permission_mode": "plan", "model": "large", "workspace": "/home/me/bakery"}
    stage.play("session_updated", None, settings=settings, applies="now")
    expect(sheet.get_by_label("Effort")).to_be_visible()
    expect(sheet).to_contain_text("Holds from the next turn.")
    screen.page.keyboard.press("Escape")
    expect(chip).to_have_text("Plan only · Large")
    expect(screen.page.locator("header .subtitle")).to_have_text(
        re.compile("echo · bakery · large · Plan only")
    )


def test_what_the_practice_agent_offers_is_set_on_every_device(site: Site, sid: str) -> None:
    site.make(sid, "so that it tells what it offers")
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    chips = [screen.page.get_by_role("button", name=re.compile("^Mode and model")) for screen in (one, two)]
    chips[0].click()
    sheet = one.page.get_by_role("dialog", name="Mode and model", exact=True)
    mode = sheet.get_by_label("Permission mode")
    plan = mode.locator("option").filter(has_text="Plan only")
    mode.select_option(plan.get_attribute("value"))
    for chip in chips:
        expect(chip).to_contain_text("Plan only")


def test_what_is_shown_is_reported_and_listed(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    assert stage.frames("painted") == [], "the past is no news"
    screen.ask("hello", "echo: hello")
    screen.box.fill("so that another frame goes out")
    painted = stage.wait_sent("painted")
    assert painted["session_id"] == sid
    assert painted["seq"] >= 1
    assert 0 <= painted["ms"] < 600_000
    screen.go("#/")
    screen.button("Settings").click()
    settings = screen.page.get_by_role("dialog", name="Settings", exact=True)
    settings.get_by_text("Delays", exact=True).click()
    expect(settings.locator(".delays li").first).to_contain_text(re.compile("(shown|sent) after [0-9]+ ms"))


def test_nothing_is_offered_that_the_agent_does_not_offer(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.tell("agent", agent={"models": [], "modes": [], "can": []})
    expect(stage.screen.page.get_by_role("button", name=re.compile("^Mode and model"))).to_be_hidden()
    stage.ask()
    stage.say("hello")
    stage.end()
    expect(stage.screen.button("Copy", stage.screen.answers.last)).to_be_visible()
    expect(stage.screen.button("Fork")).to_have_count(0)
    expect(stage.screen.page.locator(".ring")).to_be_hidden()


def test_how_full_the_context_is(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    limits = [{"name": "five_hour", "used_percent": 92.4, "resets_at": "2026-01-02T05:00:00.000Z"}]
    stage.tell("gauge", context={"used": 250_000, "window": 1_000_000}, cost_usd=0.41, limits=limits)
    expect(stage.screen.page.get_by_role("img", name="25 % of the context used")).to_be_visible()
    stage.screen.button("Details").click()
    details = stage.screen.page.get_by_role("dialog", name="Details", exact=True)
    for words in ("250K of 1M tokens", "$0.41", "five hour: 92 % used"):
        expect(details).to_contain_text(words)


def test_the_to_do_list_stands_beside_the_log_if_there_is_room(site: Site, sid: str) -> None:
    entries = [
        {"content": "mix the dough", "status": "completed"},
        {"content": "bake", "status": "in_progress"},
        {"content": "cool", "status": "pending"},
    ]
    for size, beside in ((DESKTOP, True), (Size("phone", 390, 844, touch=True), False)):
        stage = open_stage(site, f"{sid}-{size.name}", size=size)
        stage.ask()
        stage.play("plan_updated", entries=entries)
        page = stage.screen.page
        expect(page.get_by_text("To-do 1 of 3")).to_be_visible()
        item = page.get_by_role("listitem").filter(has_text="mix the dough")
        if not beside:
            expect(item).to_be_hidden()
            page.get_by_text("To-do 1 of 3").click()
        expect(item).to_be_visible()
        box, log = item.bounding_box(), stage.screen.log.bounding_box()
        assert box is not None
        assert log is not None
        assert (box["x"] >= log["x"] + log["width"] - 1) == beside
        assert faults(page) == []


def test_after_a_limit_two_devices_make_one_message(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    resets = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:00.000Z")
    more: dict[str, Any] = {"code": "usage_limit", "content": "The limit is reached.", "retryable": True}
    stage.end(kind="error", resets_at=resets, ways=["renew"], **more)
    stage.held.add("send")
    screen.page.get_by_role("button", name=re.compile("^Continue at ")).click()
    sent = stage.wait_sent("send")
    assert (sent["message_id"], sent["not_before"]) == ("continue-t1", resets)
    screen.button("Restart with the history").click()
    assert stage.wait_sent("renew")["session_id"] == sid


def test_a_message_for_later_says_when_and_can_go_now(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("send_now")
    later = "2031-01-02T09:00:00.000Z"
    more: dict[str, Any] = {"content": "water the plants", "attachments": [], "not_before": later}
    stage.play("user_message", "t7", message_id="m7", **more)
    stage.play("delivery", None, message_id="m7", state="queued")
    waiting = screen.questions.last
    expect(waiting).to_contain_text("queued for")
    screen.button("Send now", waiting).click()
    assert stage.wait_sent("send_now")["message_id"] == "m7"


def test_a_message_is_written_for_later(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("send")
    stage.tell("agent", agent=OFFER)
    screen.box.fill("water the plants")
    screen.page.get_by_role("button", name=re.compile("^Mode and model")).click()
    sheet = screen.page.get_by_role("dialog", name="Mode and model", exact=True)
    sheet.get_by_text("Send this message later").click()
    tomorrow = datetime.now() + timedelta(days=1)
    sheet.get_by_label("Time").fill(tomorrow.strftime("%Y-%m-%dT%H:%M"))
    screen.button("Send later", sheet).click()
    sent = stage.wait_sent("send")
    assert len(stage.frames("warm")) == 1, "the agent may start while somebody writes"
    assert sent["content"] == "water the plants"
    assert sent["not_before"].endswith("Z")
    expect(screen.box).to_have_value("")


def test_a_fork_begins_before_the_message_that_is_changed(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP)
    screen = stage.screen
    stage.tell("agent", agent=OFFER)
    for number in (1, 2):
        stage.ask(f"question {number}", f"t{number}")
        stage.say("fine", turn=f"t{number}")
        stage.play("delivery", f"t{number}", message_id=f"m-t{number}", state="answered")
        stage.end(f"t{number}")
    bodies: list[Any] = []

    def fork(route: Route) -> None:
        body: Any = route.request.post_data_json
        bodies.append(body)
        site.make(body["session_id"])
        route.fulfill(status=201, json={"session_id": body["session_id"]})

    screen.page.route(re.compile("/api/sessions/[^/]+/fork$"), fork)
    expect(screen.button("Edit and send again")).to_have_count(0)
    screen.questions.last.hover()
    screen.button("Edit and send again", screen.questions.last).click()
    expect(screen.page).to_have_url(re.compile(r"#/s/s-[0-9a-f]{12}$"))
    expect(screen.box).to_have_value("question 2")
    assert bodies[0]["after_turn"] == "t1"


def test_pin_and_archive_are_there_once_the_server_tells_of_them(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("organize")
    entry = {
        "agent_type": "echo",
        "title": "",
        "state": "idle",
        "head_seq": 0,
        "last_activity": "2026-01-02T03:04:05Z",
    }
    stage.tell("session_changed", **entry, pinned=False, archived=False)
    screen.button("Details").click()
    details = screen.page.get_by_role("dialog", name="Details", exact=True)
    screen.button("Pin", details).click()
    assert stage.wait_sent("organize")["pinned"] is True
    screen.button("Details").click()
    screen.button("Archive", details).click()
    assert stage.wait_sent("organize", 2)["archived"] is True
