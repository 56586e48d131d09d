"""What an agent asks: what a decision allows, what was allowed before, and whose focus it takes."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import expect

from tests.web.browser import DESKTOP, Site
from tests.web.stage import open_stage

GRANT = "edit files in the workspace without asking"
EDIT = {"file_path": "/a/b.py", "old_string": "one\n", "new_string": "two\n"}
PLAN = "# Move the oven\n\nWe do it in **two** steps:\n\n1. Lift it\n2. Put it down\n\n```\nlift oven\n```\n"
MODES = [
    {"id": "default", "kind": "ask", "name": "Ask", "description": ""},
    {"id": "acceptEdits", "kind": "edits", "name": "Edits", "description": ""},
]


def test_what_a_session_would_allow_is_told_before_and_after(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    stage.request("Edit", EDIT, grant=GRANT)
    expect(screen.permission).to_contain_text(f"“Allow for this session” lets echo: {GRANT}")
    expect(screen.permission.locator(".removed")).to_have_text(re.compile("one"))
    screen.button("Allow for this session", screen.permission).click()
    assert stage.wait_sent("decide")["decision"] == "allow_session"
    stage.play("permission_resolved", request_id="r1", decision="allow_session", by_device="ipad", note=None)
    expect(screen.log).to_contain_text(f"for this session: {GRANT}")
    screen.button("Details").click()
    details = screen.page.get_by_role("dialog", name="Details", exact=True)
    expect(details).to_contain_text(GRANT)
    screen.button("Withdraw", details).click()
    sent = stage.wait_sent("revoke_grant")
    assert {name: sent[name] for name in ("session_id", "grant")} == {"session_id": sid, "grant": GRANT}
    stage.play("session_updated", None, grants=[])
    expect(details).not_to_contain_text(GRANT)


def test_a_plan_is_read_as_one(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP)
    screen = stage.screen
    stage.tell("agent", agent={"modes": MODES, "can": []})
    stage.ask()
    more: dict[str, Any] = {
        "kind": "plan",
        "title": "A plan",
        "editable": ["plan"],
        "options": ["allow", "deny"],
    }
    stage.request("ExitPlanMode", {"plan": PLAN, "planFilePath": "/tmp/plan.md"}, **more)
    expect(screen.permission).to_contain_text("echo has a plan")
    expect(screen.permission.get_by_role("heading", name="Move the oven")).to_be_visible()
    expect(screen.permission.locator("strong")).to_have_text("two")
    expect(screen.permission.get_by_role("listitem")).to_have_text(["Lift it", "Put it down"])
    expect(screen.permission).not_to_contain_text("planFilePath")
    expect(screen.button("Allow for this session", screen.permission)).to_have_count(0)
    screen.button("Allow and switch to Edit without asking", screen.permission).click()
    decided = stage.wait_sent("decide")
    assert (decided["decision"], decided["mode"]) == ("allow", "acceptEdits")


def test_a_plan_is_changed_or_denied_with_a_reason(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    more: dict[str, Any] = {"kind": "plan", "editable": ["plan"], "options": ["allow", "deny"]}
    stage.tell("agent", agent={"modes": MODES, "can": []})
    stage.request("ExitPlanMode", {"plan": PLAN}, **more)
    screen.permission.get_by_text("Change the plan").click()
    screen.permission.get_by_role("textbox", name="Plan", exact=True).fill("# Leave the oven")
    screen.button("Allow the changed plan", screen.permission).click()
    assert stage.wait_sent("decide")["input"] == {"plan": "# Leave the oven"}
    screen.button("Deny with a reason …", screen.permission).click()
    reason = screen.permission.get_by_role("textbox", name="Reason")
    expect(reason).to_be_focused()
    reason.fill("too heavy")
    reason.press("Enter")
    denied = stage.wait_sent("decide", 2)
    assert (denied["decision"], denied["note"]) == ("deny", "too heavy")


def test_trust_in_a_folder_says_what_would_run(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    runs = [{"kind": "hook", "name": "post-edit", "from": ".claude/settings.json", "command": "make fmt"}]
    stage.request(
        "trust",
        {"folder": "/home/me/found", "runs": runs, "more": 3},
        kind="trust",
        options=["allow", "deny"],
    )
    permission = stage.screen.permission
    expect(permission).to_contain_text("/home/me/found")
    expect(permission).to_contain_text("hook post-edit (.claude/settings.json): make fmt")
    expect(permission).to_contain_text("and 3 more")
    expect(stage.screen.button("Allow for this session", permission)).to_have_count(0)
    for button, decision in (("Trust this folder", "allow"), ("Continue without its settings", "deny")):
        stage.screen.button(button, permission).click()
        count = 1 if decision == "allow" else 2
        assert stage.wait_sent("decide", count)["decision"] == decision
    stage.screen.button("Cancel", permission).click()
    assert stage.wait_sent("interrupt")["turn_id"] == "t1"


def test_a_question_leaves_the_focus_to_a_person_who_writes(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP)
    screen = stage.screen
    stage.ask()
    screen.box.press_sequentially("please write ")
    stage.request("Bash", {"command": "make"})
    expect(screen.permission).to_be_visible()
    expect(screen.box).to_be_focused()
    screen.page.keyboard.type("this")
    expect(screen.box).to_have_value("please write this")
    line = screen.page.get_by_text("A question waits: echo wants to run a command")
    expect(line.first).to_be_visible()
    screen.button("Answer").click()
    expect(screen.permission).to_be_focused()
    expect(line).to_have_count(1)  # for those who listen


def test_a_question_takes_the_focus_from_nobody_else(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP)
    screen = stage.screen
    stage.ask()
    screen.box.focus()
    stage.request("Bash", {"command": "make"})
    expect(screen.permission).to_be_focused()
    assert screen.permission.get_attribute("aria-describedby") == "asked asked-text"
    expect(screen.page.locator("#asked")).to_contain_text("echo wants to run a command")


def test_a_waiting_question_is_answered_in_the_inbox(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in()
    with site.phone() as phone:
        phone.attach(sid)
        phone.send(sid, "/ask may I go home")
        needs = screen.sessions.locator(".needs:visible")
        expect(needs).to_contain_text("may I go home")
        heading = screen.page.get_by_role("heading", name="Needs you")
        expect(heading).to_be_visible()
        screen.button("Allow", needs).click()
        resolved = phone.wait_for("permission_resolved")
        assert resolved["decision"] == "allow"
    expect(needs).to_have_count(0)
    expect(heading).to_have_count(0)


def test_an_option_of_the_agents_own_is_a_button_by_its_words(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    stage.request("edit", {"title": "Write a.txt"}, options=["deny", "Always allow in this folder"])
    expect(screen.button("Deny", screen.permission)).to_be_visible()
    expect(screen.permission.get_by_role("button", name="Allow", exact=True)).to_have_count(0)
    screen.button("Always allow in this folder", screen.permission).click()
    assert stage.wait_sent("decide")["option"] == "Always allow in this folder"
