"""Where several machines share one list: whose session it is, one that is away, and the choice of a machine."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.web.axe import faults
from tests.web.browser import Screen, Site
from tests.web.stage import Stage, open_stage

MINI = {"id": "mac-mini", "name": "Mac mini", "state": "there"}
AWAY = {**MINI, "state": "away"}
NODES = [{"id": "workstation", "state": "here"}, MINI, {"id": "cloud", "state": "away"}]


def several(page: Page) -> None:
    """Have the server tell of three machines."""
    page.route("**/api/nodes", lambda route: route.fulfill(json={"nodes": NODES}))


def at_machine(stage: Stage, machine: dict[str, Any]) -> None:
    """Let the list tell where the session is."""
    entry = {"agent_type": "echo", "title": "Bread", "state": "idle", "head_seq": 0}
    stage.tell("session_changed", **entry, last_activity="2026-01-02T03:04:05Z", machine=machine)


def test_list_header_and_details_name_the_machine(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed={"machine": MINI})
    screen = stage.screen
    subtitle = screen.page.locator(".subtitle")
    expect(subtitle).to_contain_text("echo · Mac mini")
    at_machine(stage, AWAY)
    expect(subtitle).to_contain_text("echo · Mac mini is away")
    screen.button("Details").click()
    expect(screen.dialog("Details")).to_contain_text("Mac mini is away")
    screen.go()
    expect(screen.link_to(sid)).to_contain_text("echo · idle · Mac mini is away")
    assert faults(screen.page) == []


def test_one_machine_is_never_spoken_of(site: Site, sid: str) -> None:
    site.make(sid, "hello")
    screen = site.signed_in(to=sid)
    asked: list[str] = []
    screen.page.on("request", lambda request: asked.append(request.url))
    screen.button("Details").click()
    expect(screen.dialog("Details").locator("dt").first).to_have_text("Agent")
    screen.go()
    screen.button("New session").click()
    screen.page.wait_for_load_state("networkidle")
    dialog = screen.dialog("New session")
    expect(dialog.get_by_label("Agent", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Machine", exact=True)).to_be_hidden()
    assert any(url.endswith("/api/nodes") for url in asked)


def refuse(stage: Stage, count: int) -> str:
    """Answer the page's `send` of this number as a server does whose session is away; return its message's id."""
    sent = stage.wait_sent("send", count)
    stage.tell("rejected", code="machine_away", message_id=sent["message_id"])
    return str(sent["message_id"])


def test_a_message_waits_for_its_machine_and_goes_by_itself(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed={"machine": AWAY})
    stage.held.add("send")
    screen = stage.screen
    screen.send("bake it")
    first = refuse(stage, 1)
    waiting = screen.questions.last
    expect(waiting).to_contain_text("bake it")
    expect(waiting).to_contain_text("waits for Mac mini")
    assert refuse(stage, 2) == first, "it is tried again with its id"
    expect(screen.button("Discard", waiting)).to_be_visible()
    assert faults(screen.page) == []
    at_machine(stage, MINI)
    stage.held.discard("send")
    expect(screen.answers.last).to_contain_text("echo: bake it")
    expect(screen.page.get_by_text("waits for Mac mini")).to_have_count(0)


def open_form(screen: Screen, name: str) -> None:
    screen.go()
    screen.button(name).click()


def test_new_session_asks_for_the_machine_first(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    at_machine(stage, MINI)
    screen = stage.screen
    several(screen.page)
    asked: list[str] = []

    def folders(route: Route) -> None:
        asked.append(route.request.url.partition("?")[2])
        route.fulfill(json={"path": "/srv/bread", "folders": [], "recent": []})

    screen.page.route("**/api/folders?*", folders)
    open_form(screen, "New session")
    dialog = screen.dialog("New session")
    machine = dialog.get_by_label("Machine", exact=True)
    expect(machine).to_have_value("workstation")
    expect(dialog.get_by_role("combobox").first).to_have_attribute("id", "field-machine")
    expect(machine.locator("option")).to_have_text(["workstation", "Mac mini", "cloud is away"])
    expect(machine.locator("option").last).to_be_disabled()
    assert faults(screen.page) == []
    machine.select_option("mac-mini")
    dialog.get_by_text("Folder, model and mode").click()
    screen.button("Browse", dialog).click()
    screen.button("Use this folder").click()
    assert asked == ["node=mac-mini"]
    dialog.get_by_label("Agent", exact=True).select_option("echo")
    screen.button("Create", dialog).click()
    made = stage.wait_sent("attach", len(stage.frames("attach")))
    while made["session_id"] == sid:
        made = stage.wait_sent("attach", len(stage.frames("attach")) + 1)
    assert made["settings"] == {"node": "mac-mini", "workspace": "/srv/bread"}


def test_desk_of_another_machine(site: Site, sid: str) -> None:
    screen = open_stage(site, sid).screen
    several(screen.page)
    asked: list[str] = []

    def desk(route: Route) -> None:
        url = route.request.url
        asked.append(f"{route.request.method} {url.partition('/api/desk/sessions')[2]}")
        if route.request.method == "POST":
            route.fulfill(status=201, body=json.dumps({"session_id": sid}))
            return
        found = [
            {
                "agent": "claude",
                "native_id": "n1",
                "title": "Bread of the mini",
                "workspace": "/srv/bread",
                "first_message": "",
                "last_activity": "2026-01-02T03:04:05Z",
                "message_count": 3,
                "where": None,
                "session_id": None,
            }
        ]
        there = "node=mac-mini" in url
        route.fulfill(json={"sessions": found if there else [], "unreadable": 0, "next_before": None})

    screen.page.route("**/api/desk/sessions**", desk)
    open_form(screen, "On this computer")
    dialog = screen.dialog("On this computer")
    dialog.get_by_label("Machine", exact=True).select_option("mac-mini")
    expect(dialog).to_contain_text("Bread of the mini")
    screen.button("Open Bread of the mini", dialog).click()
    expect(dialog).to_have_count(0)
    assert asked[-2:] == ["GET ?limit=50&node=mac-mini", "POST /claude/n1/open?node=mac-mini"]
