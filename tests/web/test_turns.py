"""What a turn asks of a person, on every page at once: the queue, stopping, decisions, tasks, files."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.web.browser import DESKTOP, Site, Size
from tests.web.stage import open_stage

# ---- queue, stop ----


def test_a_queued_message_is_taken_back_on_another_device(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    one.send("/hang")
    expect(one.button("Stop")).to_be_visible()
    expect(two.button("Stop")).to_be_visible()
    one.send("first in line")
    one.send("second in line")
    for screen in (one, two):
        waiting = screen.questions.filter(has_text="first in line")
        expect(waiting).to_contain_text("queued")
        expect(screen.button("Take back", waiting)).to_be_visible()
        expect(screen.questions.filter(has_text="second in line")).to_contain_text("queued")
    two.button("Take back", two.questions.filter(has_text="first in line")).click()
    for screen in (one, two):
        taken = screen.questions.filter(has_text="first in line")
        expect(taken).to_contain_text("cancelled")
        expect(taken).not_to_contain_text("queued")
        expect(screen.button("Take back", taken)).to_have_count(0)
    two.button("Stop").click()
    for screen in (one, two):
        expect(screen.answers.last).to_contain_text("echo: second in line")
        expect(screen.questions.filter(has_text="second in line")).not_to_contain_text("queued")
        expect(screen.button("Stop")).to_have_count(0)
        expect(screen.button("Take back")).to_have_count(0)
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [(one["content"], one["status"]) for one in told if one["role"] == "user"] == [
        ("/hang", "interrupted"),
        ("first in line", "cancelled"),
        ("second in line", "answered"),
    ]


def test_stop_is_there_while_a_turn_runs(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    expect(screen.button("Stop")).to_have_count(0)
    screen.send("/words 100000 20")
    expect(screen.answers.last).to_contain_text("w5 ")
    screen.button("Stop").click()
    expect(screen.button("Stop")).to_have_count(0)
    with site.http() as http:
        assert http.get(f"/api/sessions/{sid}/messages").json()["messages"][-1]["status"] == "interrupted"


def test_a_turn_that_fails_says_why(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/garbage")
    expect(screen.button("Stop")).to_have_count(0)
    expect(screen.log).to_contain_text(re.compile("protocol|agent", re.IGNORECASE))
    screen.ask("goes on", "echo: goes on")


# ---- decisions ----


def test_a_decision_closes_it_everywhere(site: Site, sid: str) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid, size=DESKTOP)
    for button, line, answer in (("Allow", "Allowed by", "allowed"), ("Deny", "Denied by", "denied")):
        one.send(f"/ask may I {button}")
        for screen in (one, two):
            expect(screen.permission).to_be_visible()
            expect(screen.permission).to_contain_text("practice")
            expect(screen.permission).to_contain_text(f"may I {button}")
            for name in ("Allow", "Deny", "Allow for this session"):
                expect(screen.button(name, screen.permission)).to_be_visible()
            inside = "() => document.activeElement.closest('[role=alertdialog], dialog') !== null"
            assert screen.page.evaluate(inside), "the focus is in it"
        two.button(button, two.permission).click()
        for screen in (one, two):
            expect(screen.permission).to_have_count(0)
            expect(screen.log).to_contain_text(line)
            expect(screen.answers.last).to_contain_text(answer)
    for screen in (one, two):
        assert screen.articles.count() == 4, "a decision is a line, not an article"


def test_the_focus_stays_in_the_dialog(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/ask keyboard")
    expect(screen.permission).to_be_visible()
    inside = "() => document.activeElement.closest('[role=alertdialog], dialog') !== null"
    seen = set()
    for key in ("Tab",) * 6 + ("Shift+Tab",) * 6:
        screen.page.keyboard.press(key)
        assert screen.page.evaluate(inside), key
        seen.add(screen.page.evaluate("() => document.activeElement.textContent.trim()"))
    assert {"Allow", "Deny", "Allow for this session"} <= seen
    screen.button("Deny", screen.permission).press("Enter")
    expect(screen.permission).to_have_count(0)
    expect(screen.answers.last).to_contain_text("denied")


def test_the_focus_stays_in_a_form_of_questions(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    options = [{"label": label, "description": ""} for label in ("one", "two", "three")]
    options[1]["description"] = "w" * 400
    questions = [
        {"question": f"Which? {'w' * 400}", "multiSelect": False, "options": options},
        {"question": "And?", "multiSelect": True, "options": options},
    ]
    stage.ask()
    stage.request("AskUserQuestion", {}, questions=questions)
    expect(screen.button("Answer", screen.permission)).to_be_visible()
    inside = "() => document.activeElement.closest('[role=alertdialog]') !== null"
    width = "(dialog) => Math.max(dialog.getBoundingClientRect().right, dialog.scrollWidth) <= innerWidth"
    assert screen.permission.evaluate(width), "long words break"
    for chosen in ("one", "three"):
        choice = screen.permission.get_by_role("radio", name=chosen)
        choice.check()
        choice.focus()
        for key in ("Shift+Tab",) * 9 + ("Tab",) * 18:
            screen.page.keyboard.press(key)
            assert screen.page.evaluate(inside), (chosen, key)
    screen.button("Answer", screen.permission).click()
    answers = stage.wait_sent("decide")["answers"]
    assert list(answers.values()) == ["three", ""]


def test_a_question_of_trust_shows_all_that_would_run(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    screen = stage.screen
    buttons = {"Trust this folder": "allow", "Continue without its settings": "deny", "Cancel": "interrupt"}
    runs = [
        {
            "kind": "hook",
            "name": "SessionStart",
            "from": ".claude/settings.json",
            "command": f"{'w' * 400} <b>end</b>",
        },
        {"kind": "server", "name": "evil", "from": ".mcp.json"},
    ]
    given = {"folder": f"/w/{'f' * 200}", "agent": "claude", "runs": runs, "more": 7}
    stage.ask()
    for number, options in enumerate((["allow", "deny"], ["allow"])):
        stage.request("trust", given, f"r{number}", kind="trust", options=options)
        offered = [name for name, decision in buttons.items() if decision != "deny" or "deny" in options]
        expect(screen.permission.get_by_role("button")).to_have_text(offered)
        for text in (
            "hook SessionStart (.claude/settings.json): w",
            "<b>end</b>",
            "server evil (.mcp.json)",
            "7 more",
        ):
            expect(screen.permission).to_contain_text(text)
        width = "(dialog) => Math.max(dialog.getBoundingClientRect().right, dialog.scrollWidth) <= innerWidth"
        assert screen.permission.evaluate(width), "long commands break"
        before = len(stage.frames("decide"))
        for name in offered:
            screen.button(name, screen.permission).click()
        stage.wait_sent("interrupt", number + 1)
        decided = [one["decision"] for one in stage.frames("decide")[before:]]
        assert [*decided, "interrupt"] == [buttons[name] for name in offered]
        stage.play(
            "permission_resolved", request_id=f"r{number}", decision="cancelled", by_device="ipad", note=None
        )


def test_a_decision_is_a_line_of_its_own(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    for number, (button, word) in enumerate((("Deny", "Denied"), ("Allow for this session", "Allowed"))):
        screen.send(f"/ask {number}")
        expect(screen.permission).to_contain_text(f"text: {number}")
        if button == "Deny":
            screen.button("Deny with a reason …", screen.permission).click()
            screen.permission.get_by_role("textbox", name="Reason").fill("not today")
        screen.button(button, screen.permission).click()
        expect(screen.log.get_by_text(f"{word} by first device", exact=True)).to_be_visible()
    lines = screen.log.inner_text().splitlines()
    for line in ("Denied by first device", "not today", "Allowed by first device"):
        assert line in lines
    assert any(line.startswith("for this session") for line in lines)


def test_the_box_is_one_line_where_there_is_little_room(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid, size=Size("small", 320, 568, touch=True))
    expect(screen.box).to_be_visible()
    height = "(box) => box.getBoundingClientRect().height"
    at_first = screen.box.evaluate(height)
    screen.send("/hang")
    expect(screen.button("Stop")).to_be_visible()
    while_running = screen.box.evaluate(height)
    assert at_first == while_running
    screen.button("Stop").click()
    expect(screen.button("Stop")).to_have_count(0)
    assert screen.box.evaluate(height) == while_running < 60
    screen.box.fill("one\ntwo\nthree")
    assert screen.box.evaluate(height) > while_running


def test_a_request_survives_a_reload_and_ends_with_its_turn(site: Site, sid: str) -> None:
    site.make(sid)
    screen, other = site.signed_in(to=sid), site.signed_in(to=sid)
    screen.send("/ask still there")
    expect(screen.permission).to_be_visible()
    screen.page.reload()
    expect(screen.permission).to_contain_text("still there")
    with site.phone() as phone:
        phone.attach(sid, device_id="kitchen-tablet")
        phone.say("interrupt", session_id=sid)
        phone.wait_for("interrupted")
    for one in (screen, other):
        expect(one.permission).to_have_count(0)
        expect(one.log).to_contain_text("Cancelled")


def test_two_requests_one_after_another(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    screen.send("/ask one")
    expect(screen.permission).to_contain_text("one")
    with site.phone() as phone:
        phone.attach(sid)
        phone.send(sid, "/ask two")
    screen.button("Allow", screen.permission).click()
    expect(screen.permission).to_contain_text("two")
    screen.button("Allow", screen.permission).click()
    expect(screen.permission).to_have_count(0)
    expect(screen.answers).to_have_count(2)
    expect(screen.answers.last).to_contain_text("allowed")


# ---- tasks, files ----


def test_delegated_work_is_shown_until_the_next_turn(site: Site, sid: str) -> None:
    site.make(sid)
    screen = site.signed_in(to=sid)
    tasks = screen.page.get_by_role("region", name="Tasks", exact=True)
    screen.send("/task tidy the attic")
    expect(tasks).to_contain_text("tidy the attic")
    expect(tasks).to_contain_text("succeeded")
    expect(screen.answers.last).to_contain_text("done")
    screen.page.reload()
    expect(tasks).to_contain_text("tidy the attic")
    screen.ask("next", "echo: next")
    expect(tasks.get_by_text("tidy the attic")).to_have_count(0)


def test_a_file_goes_with_a_message(site: Site, sid: str, tmp_path: Path) -> None:
    site.make(sid)
    one, two = site.signed_in(to=sid), site.signed_in(to=sid)
    path = tmp_path / "shopping list.txt"
    path.write_text("quinces")
    with one.page.expect_file_chooser() as choosing:
        one.button("Attach file").click()
    choosing.value.set_files(path)
    expect(one.page.get_by_text("shopping list.txt").first).to_be_visible()
    one.send("look at this")
    for screen in (one, two):
        sent = screen.questions.filter(has_text="look at this")
        expect(sent).to_contain_text("shopping list.txt")
    with site.http() as http:
        told = http.get(f"/api/sessions/{sid}/messages").json()["messages"]
    assert [(file["filename"], file["size"]) for file in told[0]["attachments"]] == [("shopping list.txt", 7)]
