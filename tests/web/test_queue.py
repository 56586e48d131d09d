"""The queue above the box, swipes in the inbox, steps of long ago, and parts of the page that do not load at first."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Route, expect

from tests.web.axe import faults
from tests.web.browser import Site
from tests.web.stage import Stage, open_stage

NOT_LOADED = "Couldn't load this part of the page. Check the connection and try again."


def queue_up(stage: Stage, *names: str) -> None:
    """Let messages of this device wait."""
    mine = stage.wait_sent("attach")["device_id"]
    for name in names:
        more: dict[str, Any] = {"content": f"weigh the {name}", "attachments": [], "device_id": mine}
        stage.play("user_message", None, message_id=name, **more)
        stage.play("delivery", None, message_id=name, state="queued")


def test_a_queue_is_put_in_another_order_and_says_why_it_waits(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held |= {"cancel", "send"}
    stage.ask()
    queue_up(stage, "flour", "water", "salt")
    screen.page.get_by_text("3 queued", exact=True).click()
    rows = screen.page.locator(".queue li")
    expect(rows).to_contain_text(["weigh the flour", "weigh the water", "weigh the salt"])
    assert faults(screen.page) == []
    screen.button("Move to the end").first.click()
    assert stage.wait_sent("cancel")["message_id"] == "flour"
    stage.tell("gauge", context={"used": 1, "window": 4})
    expect(screen.page.locator(".ring")).to_be_visible()
    assert stage.frames("send") == [], "it may still run"
    stage.play("delivery", None, message_id="flour", state="cancelled")
    assert stage.wait_sent("send")["content"] == "weigh the flour"
    expect(rows).to_contain_text(["weigh the water", "weigh the salt"])
    held = {"code": "usage_limit", "until": "2031-01-02T09:00:00.000Z"}
    stage.play("session_updated", None, held=held)
    why = screen.page.get_by_text("Queued messages wait: the usage limit is reached. They run at")
    expect(why).to_be_visible()
    stage.play("session_updated", None, held={"code": "", "until": None})
    expect(why).to_be_hidden()


def test_a_row_is_swiped_into_the_archive_or_pinned(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.held.add("organize")
    entry = {"agent_type": "echo", "title": "Bread", "state": "idle", "head_seq": 0}
    stage.tell("session_changed", **entry, last_activity="2026-01-02T03:04:05Z", pinned=False, archived=False)
    screen.page.get_by_role("link", name="Back", exact=True).click()
    row = screen.link_to(sid)
    expect(row).to_contain_text("Bread")
    screen.page.evaluate("() => import('/js/views/swipe.js').then(() => true)")
    for dx, count, what in ((-60, 0, {}), (-150, 1, {"archived": True}), (150, 2, {"pinned": True})):
        swipe(stage, dx)
        if count:
            sent = stage.wait_sent("organize", count)
            assert what.items() <= sent.items()
    assert len(stage.frames("organize")) == 2, "a short swipe does nothing"
    expect(row).to_have_css("translate", "none")
    swipe(stage, -150, dy=200)
    assert len(stage.frames("organize")) == 2, "a finger that scrolls does nothing"
    expect(screen.page).to_have_url(re.compile("#/$"))


def swipe(stage: Stage, dx: int, dy: int = 0) -> None:
    """Move a finger over the row of the session."""
    page = stage.screen.page
    box = stage.screen.link_to(stage.sid).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = page.context.new_cdp_session(page)
    for part in range(6):
        point = {"x": x + dx * part / 5, "y": y + dy * part / 5}
        kind = "touchMove" if part else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        page.evaluate("() => new Promise(requestAnimationFrame)")
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_what_an_agent_did_long_ago_is_fetched_if_somebody_asks(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed={"from_seq": 101, "head_seq": 100})
    stage.seq = 100
    page = stage.screen.page
    at = {"timestamp": "2026-01-01T03:04:05.123Z", "device_id": "ipad", "turn_id": "t0"}
    said = {
        **at,
        "role": "user",
        "message_id": "m0",
        "content": "weigh",
        "attachments": [],
        "status": "answered",
    }
    answer = {**at, "role": "assistant", "content": "I look.It is 500 g.", "status": "complete"}
    html = '<div data-block="a"><p>I look.</p></div><div data-block="b"><p>It is 500 g.</p></div>'
    past = [{**said, "seq": 1}, {**answer, "seq": 2, "html": html}]
    tool = {"tool_id": "c1", "name": "Read"}
    kinds: list[dict[str, Any]] = [
        {"type": "turn_started", "message_id": "m0"},
        {"type": "message", "content": "I look.", "block": "a", "offset": 0},
        {"type": "tool_started", **tool, "input": {"file_path": "flour.txt"}},
        {"type": "tool_finished", **tool, "output": "500", "is_error": False, "duration_ms": 1200},
        {"type": "message", "content": "It is 500 g.", "block": "b", "offset": 0},
        {"type": "complete", "message_count": 2},
    ]
    events = [{**at, "content": "", "epoch": 1, "seq": seq, **one} for seq, one in enumerate(kinds, 2)]
    asked: list[str] = []

    def give(route: Route) -> None:
        asked.append(route.request.url)
        is_page = "/messages" in route.request.url
        body = {"messages": past, "next_before": None} if is_page else {"events": events, "next_after": None}
        route.fulfill(json=body)

    page.route(re.compile(r"/api/sessions/[^/]+/(messages|events)\?"), give)
    stage.ask()
    stage.say("now")
    stage.end(html="<p>now</p>")
    old = stage.screen.answers.first
    expect(old).to_contain_text("It is 500 g.")
    expect(old.locator("details.tool")).to_have_count(0)
    stage.screen.button("Show steps", old).click()
    expect(old.locator("details.tool")).to_contain_text("Read")
    words = old.locator(".body > *")
    expect(words).to_contain_text(["I look.", "flour.txt", "It is 500 g."])
    expect(stage.screen.button("Show steps")).to_have_count(0)
    assert "after_seq=1&" in next(url for url in asked if "/events" in url)


def test_a_part_that_did_not_load_comes_by_the_next_press(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    page = screen.page
    page.evaluate("() => (window.webkitSpeechRecognition.prototype.start = () => (window.listens = true))")
    stage.ask()
    stage.say("hello")
    stage.end(html="<p>hello</p>")
    toast = page.get_by_role("alert").filter(has_text=NOT_LOADED)
    page.route("**/js/voice.js", lambda route: route.abort())
    for name in ("Dictate", "Read aloud"):
        screen.button(name).click()
        expect(toast).to_be_visible()
        screen.button("Dismiss").click()
        expect(toast).to_have_count(0)
    page.unroute("**/js/voice.js")
    screen.button("Dictate").click()
    page.wait_for_function("() => window.listens")
    expect(toast).to_have_count(0)


def test_a_question_that_did_not_load_comes_by_the_next_press(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    screen.page.route("**/js/views/asks.js", lambda route: route.abort())
    stage.ask()
    stage.request("trust", {"folder": "/w", "runs": []}, kind="trust", options=["allow", "deny"])
    expect(screen.permission).to_contain_text(NOT_LOADED)
    screen.page.unroute("**/js/views/asks.js")
    screen.button("Try again", screen.permission).click()
    expect(screen.button("Trust this folder", screen.permission)).to_be_visible()
