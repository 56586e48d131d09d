"""Much at once: a turn of 200 calls, a stream of a thousand words a second, 500 sessions. No task of the page takes long.

As in `test_long`, a task is as long as its thread had the processor, and the tests allow `SLOWER` times the contract's
limit; what was measured is kept in `build/web-figures.json`.
"""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.web.browser import PHONE, Screen, Site
from tests.web.stage import open_stage
from tests.web.test_long import SLOWER, STRICT, note
from tests.web.tracing import traced

SESSIONS = 500
CALLS = 200
WORDS = 10_000


def heap_mb(screen: Screen) -> float:
    session = screen.context.new_cdp_session(screen.page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def test_a_turn_of_many_calls(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    with traced(screen.page) as tasks:
        stage.ask()
        for number in range(CALLS):
            stage.tool("Bash", {"command": f"step {number}"}, output="x" * 2000)
        stage.say("That was all.", "z")
        expect(screen.answers.last).to_contain_text("That was all.")
        screen.button(f"{CALLS} calls", screen.answers.last).click()
        expect(screen.answers.last.locator("details.tool")).to_have_count(CALLS)
    note("200 calls: longest task, ms of the processor's time", max(tasks))
    assert max(tasks) < SLOWER * STRICT.long_task


def test_a_fast_stream(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    before = heap_mb(screen)
    with traced(screen.page) as tasks:
        screen.send(f"/words {WORDS} 1")
        expect(screen.answers.last).to_contain_text(f"w{WORDS - 1} ")
    note("1,000 words a second: longest task, ms of the processor's time", max(tasks))
    assert max(tasks) < SLOWER * STRICT.long_task
    expect(screen.button("Copy", screen.answers.last)).to_be_visible()
    words = [int(one) for one in re.findall(r"\bw(\d+)\b", screen.answers.last.inner_text())]
    assert words == list(range(WORDS)), "every word, in order, once"
    assert heap_mb(screen) - before < 10


def test_many_sessions_in_the_inbox(site: Site, sid: str) -> None:
    entries = [
        {
            "session_id": f"{sid}-{number}",
            "agent_type": "echo",
            "title": f"Task {number}",
            "state": "idle",
            "head_seq": 1,
            "unread": number % 3,
            "last_activity": f"2026-01-02T{number % 24:02}:04:05.000Z",
            "workspace": f"/home/me/project-{number % 7}",
        }
        for number in range(SESSIONS)
    ]
    answer = {"total": SESSIONS, "sessions": entries, "next_before": None}
    screen = site.screen(size=PHONE)
    screen.page.route("**/api/sessions?*", lambda route: route.fulfill(json=answer))
    with traced(screen.page) as tasks:
        screen.go(f"#key={site.key}")
        expect(screen.sessions.get_by_role("link")).to_have_count(SESSIONS)
        site.make(f"{sid}-fresh", "hello")
        expect(screen.link_to(f"{sid}-fresh")).to_be_visible()
    note("500 sessions: longest task, ms of the processor's time", max(tasks))
    assert max(tasks) < SLOWER * STRICT.long_task
