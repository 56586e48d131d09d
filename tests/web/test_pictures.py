"""The pictures of docs/user/web.md, changes.md and steering.md: phone, tablet and desktop, by day and by night.

Each run makes them in `build/screenshots`. With the environment variable `PICTURES` set to a folder they go there:
`PICTURES=docs/user/pictures python -m pytest tests/web/test_pictures.py` renews those of the guide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.support.server import ROOT
from tests.web.browser import DESKTOP, PHONE, SCREENSHOTS, TABLET, Screen, Site, Size
from tests.web.repository import make_repository
from tests.web.stage import Stage, open_stage

GUIDES = [
    ROOT / "docs" / "user" / name for name in ("web.md", "changes.md", "steering.md", "notifications.md")
]
NOW = datetime(2026, 1, 2, 9, 14, 30, tzinfo=UTC)
WORKSPACE = "/home/ann/bakery"
CODE = (
    '<pre data-language="python"><code><span class="k">def</span> <span class="nf">weigh</span>(flour: '
    '<span class="nb">float</span>) -&gt; <span class="nb">float</span>:\n    <span class="k">return</span> '
    '<span class="nb">round</span>(flour * <span class="mf">1.2</span>, <span class="mi">2</span>)\n</code></pre>'
)
ANSWER = (
    '<div data-block="a"><p>I look at the tests first.</p></div><div data-block="b"><h2>One rounding too many</h2>'
    f"<p><code>weigh</code> rounded twice. It rounds once now:</p>{CODE}"
    "<ul><li>all 14 tests pass</li><li>a new one fails without the change</li></ul></div>"
)
PLAN = """## Round once

1. Find each place that rounds twice
2. Round in `weigh` alone
3. Add a test for each"""
OFFER: dict[str, Any] = {
    "models": [{"id": "opus", "name": "Opus", "default": True}],
    "modes": [
        {"id": "default", "kind": "ask", "name": "Ask"},
        {"id": "plan", "kind": "plan", "name": "Plan"},
    ],
    "can": ["steer"],
}
SESSIONS = (
    ("Fix the rounding in weigh()", "claude", "running", "bakery", 0, 1),
    ("Delete the merged branches", "codex", "waiting", "bakery", 0, 3),
    (
        "Compare ferries and trains for both weeks of the summer, with prices",
        "claude",
        "idle",
        "travel",
        2,
        40,
    ),
    ("Release notes for 2.4", "claude", "idle", "bakery", 0, 130),
    ("Why is the build slow?", "codex", "idle", "bakery", 0, 1500),
)


def at(seconds: float) -> str:
    """Return a moment so many seconds before the picture."""
    return (
        datetime.fromtimestamp(NOW.timestamp() - seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    )


def keep(screen: Screen, name: str) -> None:
    """Keep a picture of the page under a name that the guide shows."""
    folder = Path(os.environ.get("PICTURES") or SCREENSHOTS)
    folder.mkdir(parents=True, exist_ok=True)
    screen.page.evaluate("() => document.fonts.ready.then(() => true)")
    screen.page.screenshot(path=folder / f"{name}.png", caret="hide", animations="disabled")
    shown = any(f"pictures/{name}.png" in guide.read_text() for guide in GUIDES)
    assert shown, "the guides show every picture"


def entries() -> list[dict[str, Any]]:
    return [
        {
            "session_id": f"guide-{number}",
            "agent_type": agent,
            "title": title,
            "state": state,
            "head_seq": 1,
            "unread": unread,
            "last_activity": at(minutes * 60),
            "workspace": f"/home/ann/{project}",
        }
        for number, (title, agent, state, project, unread, minutes) in enumerate(SESSIONS)
    ]


def set_stage(site: Site, sid: str, size: Size, scheme: str) -> Stage:
    """Open a session of Claude that has done some work."""
    changed = {
        "settings": {"workspace": WORKSPACE, "model": "opus", "permission_mode": "default"},
        "title": "Fix the rounding in weigh()",
        "agent_type": "claude",
    }
    more: dict[str, Any] = {"color_scheme": scheme, "timezone_id": "UTC", "locale": "en-GB"}
    stage = open_stage(site, sid, size=size, changed=changed, **more)
    stage.screen.page.clock.set_fixed_time(NOW)
    stage.tell("agent", agent=OFFER)
    stage.tell("gauge", context={"used": 310_000, "window": 1_000_000})
    stage.play(
        "user_message",
        message_id="m-t1",
        content="Fix the rounding in weigh()",
        attachments=[],
        timestamp=at(190),
    )
    stage.play("turn_started", message_id="m-t1", timestamp=at(189))
    stage.say("I look at the tests first.", "a")
    stage.tool("Read", {"file_path": f"{WORKSPACE}/tests/test_weigh.py"})
    stage.tool("Bash", {"command": "pytest -q tests/test_weigh.py"}, output="1 failed", is_error=True)
    edit = {
        "file_path": f"{WORKSPACE}/src/weigh.py",
        "old_string": "round(round(x))",
        "new_string": "round(x)",
    }
    stage.tool("Edit", edit)
    stage.say("x", "b")
    stage.end(html=ANSWER, usage={"input_tokens": 12_000, "output_tokens": 800}, timestamp=at(120))
    expect(stage.screen.answers.first).to_contain_text("all 14 tests pass")
    expect(stage.screen.answers.first).to_contain_text("3 calls · 1 failed")
    return stage


def go_on(stage: Stage) -> None:
    """Begin a second turn that asks for something."""
    given = {"command": "git push --force-with-lease", "description": "Push the branch"}
    stage.play("user_message", "t2", message_id="m-t2", content="Push it", attachments=[], timestamp=at(30))
    stage.play("turn_started", "t2", message_id="m-t2", timestamp=at(29))
    plan = (("Fix weigh()", "completed"), ("Add a test", "completed"), ("Push the branch", "in_progress"))
    stage.play("plan_updated", "t2", entries=[{"content": text, "status": status} for text, status in plan])
    stage.tool("Bash", given, output=None, turn="t2")
    stage.play(
        "permission_requested",
        "t2",
        request_id="r1",
        tool="Bash",
        input=given,
        options=["allow", "deny", "allow_session"],
        grant="run git push commands without asking",
    )
    expect(stage.screen.permission).to_contain_text("git push --force-with-lease")
    stage.screen.log.evaluate("(log) => (log.scrollTop = log.scrollHeight)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_conversation(site: Site, sid: str, scheme: str) -> None:
    for size in (PHONE, TABLET, DESKTOP):
        stage = set_stage(site, f"{sid}-{size.name}", size, scheme)
        if size is PHONE:
            keep(stage.screen, f"phone-{scheme}-turn")
        go_on(stage)
        keep(stage.screen, f"{size.name}-{scheme}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_plan_and_the_settings(site: Site, sid: str, scheme: str) -> None:
    stage = set_stage(site, sid, PHONE, scheme)
    page = stage.screen.page
    page.get_by_role("button", name=re.compile("^Mode and model")).click()
    expect(page.get_by_role("dialog", name="Mode and model", exact=True)).to_be_visible()
    keep(stage.screen, f"phone-{scheme}-settings")
    page.keyboard.press("Escape")
    said = {"content": "Round everywhere once", "attachments": [], "timestamp": at(30)}
    stage.play("user_message", "t2", message_id="m-t2", **said)
    stage.play("turn_started", "t2", message_id="m-t2", timestamp=at(29))
    stage.play(
        "permission_requested",
        "t2",
        request_id="r1",
        tool="ExitPlanMode",
        kind="plan",
        title="Carry out the plan",
        input={"plan": PLAN},
        options=["allow", "deny"],
        modes=[],
        editable=["plan"],
    )
    expect(stage.screen.permission).to_contain_text("Add a test")
    stage.screen.log.evaluate("(log) => (log.scrollTop = log.scrollHeight)")
    keep(stage.screen, f"phone-{scheme}-plan")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_inbox(site: Site, scheme: str) -> None:
    more: dict[str, Any] = {"color_scheme": scheme, "timezone_id": "UTC", "locale": "en-GB"}
    screen = site.screen(size=PHONE, **more)
    answer = {"total": len(SESSIONS), "sessions": entries(), "next_before": None}
    screen.page.route("**/api/sessions?*", lambda route: route.fulfill(json=answer))
    agents = [{"name": name, "ready": True} for name in ("claude", "codex")]
    screen.page.route("**/api/status", lambda route: route.fulfill(json={"agents": agents}))
    screen.page.clock.set_fixed_time(NOW)
    screen.go(f"#key={site.key}")
    expect(screen.link_to("guide-2")).to_contain_text("Compare ferries")
    expect(screen.button("Unread")).to_be_visible()
    keep(screen, f"phone-{scheme}-inbox")


ALLOWED = """() => {
  Object.defineProperty(Notification, "permission", { get: () => "granted" });
  localStorage.setItem("builderos.notify", "c1");
}"""


def answering(answer: dict[str, Any]) -> Callable[[Route], None]:
    return lambda route: route.fulfill(json=answer)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_notifications(site: Site, scheme: str) -> None:
    wants = {"decision": True, "finished": True, "failed": False}
    channels = [{"id": "c1", "kind": "web", "wants": wants, "state": "live", "problem": None}]
    told = {
        "decision": {"phone": "The device showed it.", "mac": "Another device was notified first."},
        "finished": {
            "phone": "Somebody was looking at the session.",
            "mac": "It was within the quiet hours.",
        },
    }
    alerts = [
        {
            "session_id": f"guide-{number}",
            "kind": kind,
            "raised_at": at(300 * (number + 1)),
            "deliveries": [{"device_id": name, "content": text} for name, text in sent.items()],
        }
        for number, (kind, sent) in enumerate(told.items())
    ]
    devices = [{"id": "first", "name": "first device", "scope": "admin", "created_at": at(90_000)}]
    answers: dict[str, dict[str, Any]] = {
        "**/api/sessions?*": {"total": len(SESSIONS), "sessions": entries(), "next_before": None},
        "**/api/notifications": {"channels": channels, "application_server_key": "k", "quiet_hours": None},
        "**/api/notifications/why?*": {"alerts": alerts, "next_before": None},
        "**/api/devices": {"devices": devices, "next_after": None},
    }
    more: dict[str, Any] = {"color_scheme": scheme, "timezone_id": "UTC", "locale": "en-GB"}
    screen = site.screen(size=PHONE, **more)
    screen.page.add_init_script(f"({ALLOWED})()")
    for path, answer in answers.items():
        screen.page.route(path, answering(answer))
    screen.page.clock.set_fixed_time(NOW)
    screen.go(f"#key={site.key}")
    screen.button("Settings").click()
    recent = screen.dialog("Settings").get_by_text("Recent alerts")
    recent.click()
    expect(screen.page.get_by_text("Another device was notified first.")).to_be_visible()
    recent.evaluate("(line) => line.closest('.notifications').scrollIntoView()")
    keep(screen, f"phone-{scheme}-notifications")


OVEN = """\
from dataclasses import dataclass


@dataclass
class Oven:
    degrees: int = 20

    def heat(self, to: int) -> None:
        while self.degrees < to:
            self.degrees += 10

    def bake(self, loaves: int) -> list[str]:
        self.heat(220)
        return ["bread"] * loaves
"""


def test_the_work(site: Site) -> None:
    sid = "oven"
    files = {"src/oven.py": OVEN, "notes.md": "# Notes\n\nFlour, water, salt.\n"}
    work = make_repository(site, sid, files, folder="bakery")
    changed = OVEN.replace("self.degrees < to", "self.degrees < min(to, MOST)").replace(
        "\n\n@dataclass", "\nMOST = 260\n\n\n@dataclass"
    )
    work.turn({"src/oven.py": changed, "tests/test_oven.py": "def test_oven() -> None: ...\n"})
    more: dict[str, Any] = {"color_scheme": "light", "timezone_id": "UTC", "locale": "en-GB"}
    for size in (PHONE, DESKTOP):
        screen = site.signed_in(to=sid, size=size, **more)
        screen.button("View", screen.answers.last.locator(".changed")).click()
        expect(screen.page.get_by_text("2 files, +4 −1.")).to_be_visible()
        if size is DESKTOP:
            screen.button("Side by side").click()
            expect(screen.page.locator(".pair").first).to_be_visible()
            keep(screen, "work-desktop")
            continue
        line = screen.page.locator(".added").filter(has_text="min(to, MOST)")
        line.tap()
        form = screen.page.locator("form.comment")
        form.get_by_role("textbox").fill("Should this raise an error?")
        keep(screen, "work-phone")
        screen.button("Open file here", form).click()
        expect(screen.page.locator(".linemark")).to_be_in_viewport()
        keep(screen, "work-file")
