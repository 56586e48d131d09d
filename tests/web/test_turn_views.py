"""How a turn looks: text and tools in their order, tools by their kind, and what long or odd input does to the page."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import Route, expect

from tests.web.browser import DESKTOP, PHONE, TABLET, Site, Size
from tests.web.stage import Stage, open_stage

SMALL = Size("small", 320, 568, touch=True)
LONG = "x" * 2000
WORKSPACE = {"settings": {"workspace": "/home/me/bakery"}}

OVERFLOW = """() => {
    const log = document.querySelector('[role=log]');
    const right = log.getBoundingClientRect().right;
    const out = [...document.querySelectorAll('[role=log] *, header *, form *')].filter((one) => {
        const box = one.getBoundingClientRect();
        const scrolls = one.closest('pre, .table, .choices, .filters');
        const cut = one.closest('.gist, .title, .subtitle, h1, .unseen, b, .now');
        return box.width && box.right > right + 1 && !scrolls && !cut;
    });
    const wide = Math.max(document.documentElement.scrollWidth - innerWidth, log.scrollWidth - log.clientWidth);
    return [wide, ...out.slice(0, 3).map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 40)}`)];
}"""
"""By how much the page or the log scrolls sideways, and what stands out of it on the right."""

TOOLS = (
    ("Bash", {"command": f"echo {LONG}", "description": LONG}),
    ("Edit", {"file_path": f"/a/{LONG}", "old_string": LONG, "new_string": f"{LONG}y"}),
    ("Write", {"file_path": "/a/b", "content": LONG}),
    ("Read", {"file_path": f"/a/{LONG}"}),
    ("Grep", {"pattern": LONG, "path": f"/a/{LONG}"}),
    ("WebFetch", {"url": f"https://example.com/{LONG}"}),
    ("TodoWrite", {"todos": [{"content": LONG, "status": "pending"}]}),
    ("ExitPlanMode", {"plan": f"# {LONG}\n\n- {LONG}\n\n`{LONG}`"}),
    ("Task", {"description": LONG, "prompt": LONG}),
    (f"mcp__{'s' * 60}__{'t' * 60}", {"text": LONG}),
    ("odd", {LONG[:200]: LONG}),
)


def table(columns: int) -> str:
    head = "".join(f"<th>column number {number}</th>" for number in range(columns))
    row = "".join(f"<td>value number {number}</td>" for number in range(columns))
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody><tr>{row}</tr></tbody></table></div>'
    )


@pytest.mark.parametrize("size", [SMALL, PHONE, TABLET, Size("laptop", 1280, 800)], ids=lambda one: one.name)
def test_nothing_stands_out_of_the_page(site: Site, sid: str, size: Size) -> None:
    title = "A title of two hundred characters " * 6
    changed = {"title": title[:200], "devices": [{"device_id": "ipad", "name": "n" * 100, "observe": False}]}
    stage = open_stage(site, sid, size=size, changed=changed)
    screen = stage.screen
    stage.ask(LONG)
    for name, given in TOOLS:
        stage.tool(name, given, output=f"{LONG}\n{LONG}", is_error=name == "Read")
    stage.say("x", "b")
    code = f'<pre data-language="text"><code>{LONG}</code></pre>'
    stage.end(html=f'<div data-block="b"><p>{LONG}</p>{code}{table(12)}<p>the end</p></div>')
    expect(screen.answers.last).to_contain_text("the end")
    screen.button(f"{len(TOOLS)} calls · 1 failed", screen.answers.last).click()
    rows = screen.answers.last.locator("details > summary")
    expect(rows).to_have_count(len(TOOLS))
    assert screen.page.evaluate(OVERFLOW) == [0]
    for row in rows.all():
        row.click()
    expect(screen.answers.last.locator(".toolbody pre").first).to_be_visible()
    expect(screen.answers.last.locator(".toolbody:empty")).to_have_count(0)
    assert screen.page.evaluate(OVERFLOW) == [0]
    states = screen.answers.last.locator(".toolstate")
    for state in states.all():
        box = state.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= size.width, "the state of a call can be read"


def test_an_agents_long_question_fits(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=SMALL)
    stage.ask()
    options = [{"label": "yes" * 50, "description": "d" * 500}, {"label": "no", "description": ""}]
    stage.request("AskUserQuestion", {}, questions=[{"question": "q" * 5000, "options": options}])
    answer = stage.screen.button("Answer", stage.screen.permission)
    expect(answer).to_be_visible()
    assert stage.screen.page.evaluate(OVERFLOW) == [0]
    answer.click()
    assert stage.wait_sent("decide")["decision"] == "allow"


def open_rows(stage: Stage) -> None:
    # The last first: what opens may have rows of its own, and the ones behind it then have other numbers.
    for row in reversed(stage.screen.answers.last.locator("details.tool > summary").all()):
        row.click()
    expect(stage.screen.answers.last.locator(".toolbody").first).not_to_be_empty()


def test_a_picture_of_a_call_is_fetched_once_somebody_wants_it(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    dot = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    asked: list[str] = []

    def give(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(body=dot, content_type="application/octet-stream")

    stage.screen.page.route("**/uploads/blobs/**", give)
    stage.ask()
    picture = {"mime_type": "image/png", "size": len(dot), "sha256": "ab", "url": f"/uploads/blobs/{sid}/ab"}
    stage.tool("Read", {"file_path": "a.png"}, output="[picture: png, 1 KB]", pictures=[picture])
    expect(stage.screen.answers.last.locator("details.tool")).to_have_count(1)
    open_rows(stage)
    show = stage.screen.button("Show the picture, 70 B", stage.screen.answers.last)
    expect(show).to_be_visible()
    assert asked == []
    show.click()
    image = stage.screen.answers.last.locator("img.picture")
    expect(image).to_be_visible()
    assert image.evaluate("one => one.decode().then(() => one.naturalWidth)") == 1
    assert len(asked) == 1


def test_text_and_tools_stand_in_their_order(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed=WORKSPACE)
    stage.ask()
    stage.say("I look at it first.", "a")
    stage.tool("Read", {"file_path": "/home/me/bakery/src/weigh.py"})
    stage.say("Now I change it.", "b")
    stage.tool("Edit", {"file_path": "/home/me/bakery/src/weigh.py", "old_string": "a", "new_string": "b"})
    stage.say("Done.", "c")
    answer = stage.screen.answers.last
    expect(answer).to_contain_text("Done.")
    expect(answer.locator(".tool")).to_have_count(2)
    words = re.compile(
        r"I look at it first\.\s*Read\s*src/weigh\.py.*Now I change it\.\s*Edit\s*src/weigh\.py.*Done\.",
        re.DOTALL,
    )
    assert words.search(answer.inner_text())
    blocks = "".join(f'<div data-block="{name}"><p><em>{name}</em></p></div>' for name in "abc")
    stage.end(html=blocks)
    expect(answer.locator("em")).to_have_text(["a", "b", "c"])
    assert re.search(r"a\s*Read.*b\s*Edit.*c", answer.inner_text(), re.DOTALL), "rendered, they stay in order"


def test_tools_are_drawn_by_their_kind(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed=WORKSPACE)
    stage.ask()
    red = "\x1b[31mFAILED\x1b[0m one\r\n50 %\r100 %\n<tool_use_error>Exit code 2</tool_use_error>"
    stage.tool("Bash", {"command": "make test", "description": "Run the tests"}, output=red, is_error=True)
    stage.say("and", "b")
    stage.tool("Grep", {"pattern": "weigh\\(", "path": "/home/me/bakery/src"}, output="src/a.py:3")
    stage.say("then", "c")
    todos = [{"content": "mix", "status": "completed"}, {"content": "bake", "status": "in_progress"}]
    stage.tool("TodoWrite", {"todos": todos})
    answer = stage.screen.answers.last
    expect(answer.locator("details.tool")).to_have_count(3)
    open_rows(stage)
    body = answer.locator(".toolbody")
    expect(body.nth(0)).to_contain_text("make test")
    expect(body.nth(0).locator(".ansi-red")).to_have_text("FAILED")
    text = body.nth(0).inner_text()
    assert "[31m" not in text
    assert "tool_use_error" not in text
    assert "50 %" not in text, "what a program wrote over is not shown"
    expect(answer.locator("summary").nth(1)).to_contain_text("weigh\\( in src")
    expect(answer.locator("summary").nth(2)).to_contain_text("1 of 2 done")
    expect(body.nth(2).get_by_role("listitem")).to_have_text(
        [re.compile("done: *mix"), re.compile("in progress: *bake")]
    )


def test_the_output_of_a_running_call_grows(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()

    def tell(*printed: str, offset: int = 0) -> None:
        outputs = [{"tool_id": "x1", "offset": offset, "output": text} for text in printed]
        stage.tell("tool_output", turn_id="t1", outputs=outputs)

    tell("one\n")  # after an `attach` it comes before the event of its call
    stage.play("tool_started", tool_id="x1", name="execute", input={"command": "make"}, parent_tool_id=None)
    answer = stage.screen.answers.last
    expect(answer.locator("summary .gist").nth(1)).to_have_text("one")
    open_rows(stage)
    output = answer.locator(".toolbody pre").last
    expect(output).to_have_text("one\n")
    tell("one\n\x1b[31mtwo\x1b[0m <b>\n")
    expect(output).to_have_text("one\ntwo <b>\n")
    tell("two\n" * 100, offset=400)
    expect(output).to_contain_text("…two")
    assert output.evaluate("node => node.scrollTop + node.clientHeight >= node.scrollHeight - 2")
    finished = {"tool_id": "x1", "name": "execute", "is_error": False, "parent_tool_id": None}
    stage.play("tool_finished", **finished, output="one\ntwo\nthree\n")
    expect(output).to_have_text("one\ntwo\nthree\n")
    expect(answer.locator(".toolbody pre")).to_have_count(2)
    tell()
    expect(output).to_have_text("one\ntwo\nthree\n")


def test_inner_calls_stand_in_the_call_that_began_them(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    one = stage.tool("Task", {"description": "explore"}, output=None)
    two = stage.tool("Task", {"description": "measure"}, output=None)
    stage.tool("Grep", {"pattern": "inner of one"}, parent=one)
    stage.tool("Read", {"file_path": "inner of two"}, parent=two)
    answer = stage.screen.answers.last
    expect(answer.locator(".tool").first).to_contain_text("Search inner of one")
    rows = answer.locator(".toolrow")
    expect(rows).to_have_count(2)
    open_rows(stage)
    expect(rows.first.locator(".toolbody .tool")).to_contain_text("inner of one")
    expect(answer.locator(".toolbody .tool").last).to_contain_text("inner of two")


def test_a_run_of_calls_folds_and_says_what_failed(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    for number in range(5):
        stage.tool("Bash", {"command": f"step {number}"}, is_error=number == 2)
    answer = stage.screen.answers.last
    head = answer.get_by_role("button", name="5 calls · 1 failed", exact=True)
    expect(head).to_be_visible()
    expect(answer.locator("summary:visible")).to_have_text(re.compile("step 4"))
    stage.end()
    expect(answer.locator("summary:visible")).to_have_count(0)
    head.click()
    expect(answer.locator("summary:visible")).to_have_count(5)
    expect(head).to_have_attribute("aria-expanded", "true")


def test_a_decision_stands_at_its_call(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    given = {"command": "rm -r build"}
    stage.tool("Bash", given, output=None)
    stage.request("Bash", given)
    expect(stage.screen.permission).to_be_visible()
    stage.play("permission_resolved", request_id="r1", decision="deny", by_device="ipad", note="keep it")
    row = stage.screen.answers.last.locator(".toolrow")
    expect(row).to_contain_text("rm -r build")
    expect(row.get_by_text("Denied by ipad", exact=True)).to_be_visible()
    expect(row).to_contain_text("keep it")


def test_a_decision_stays_in_sight_when_its_calls_fold(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    stage.tool("Read", {"file_path": "one"})
    given = {"command": "make"}
    call = stage.tool("Bash", given, output=None)
    stage.request("Bash", given)
    stage.play("permission_resolved", request_id="r1", decision="allow", by_device="ipad", note=None)
    stage.play("tool_finished", tool_id=call, name="Bash", output="ok", is_error=False, duration_ms=5)
    stage.tool("Read", {"file_path": "two"})
    stage.tool("Read", {"file_path": "three"})
    stage.end()
    answer = stage.screen.answers.last
    expect(stage.screen.button("4 calls", answer)).to_be_visible()
    expect(answer.locator("summary:visible")).to_have_text([re.compile("make")])
    expect(answer.get_by_text("Allowed by ipad", exact=True)).to_be_visible()


def test_background_work_outlives_its_turn_and_is_stopped(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.held.add("stop_task")
    stage.ask()
    more = {"agent_type": "claude", "parent_task_id": None, "state": "running", "background": True}
    stage.play("task_started", task_id="k1", title="watch the oven", **more)
    stage.end()
    stage.ask("next", "t2")
    tasks = stage.screen.page.get_by_role("region", name="Tasks", exact=True)
    expect(tasks).to_contain_text("watch the oven")
    stage.screen.button("Stop watch the oven", tasks).click()
    assert stage.wait_sent("stop_task")["task_id"] == "k1"
    stage.play("task_finished", None, task_id="k1", state="cancelled")
    expect(tasks).to_contain_text("cancelled")


def test_that_an_agent_tries_again_is_told_while_it_does(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    stage.play("notice", code="retry", content="Claude Code tries again.", attempt=2, retry_in_s=1)
    expect(stage.screen.log).to_contain_text("Claude Code tries again. Next try in 1 s.")
    stage.end(kind="error", code="model_error", content="The service is overloaded.", retryable=True)
    expect(stage.screen.log).to_contain_text("The service is overloaded.")
    expect(stage.screen.log).not_to_contain_text("tries again")


def test_a_failed_turn_can_be_tried_again(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask("count the sheep")
    stage.play("delivery", message_id="m-t1", state="failed")
    stage.end(kind="error", code="model_error", content="The service is overloaded.", retryable=True)
    expect(stage.screen.questions.first).not_to_contain_text("failed")
    stage.screen.button("Retry", stage.screen.answers.last).click()
    assert stage.wait_sent("send")["content"] == "count the sheep"


def test_a_long_message_is_drawn_when_somebody_asks(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    text = "All work and no play.\n" * 10_000
    stage.ask(text)
    message = stage.screen.questions.last
    expect(message).to_contain_text("All work")
    height = "(one) => one.getBoundingClientRect().height"
    assert message.evaluate(height) < 1500
    stage.screen.page.get_by_role("button", name=re.compile("^Show all")).click()
    expect(message.locator(".text")).to_have_text(text.strip(), use_inner_text=False)
    assert message.evaluate(height) < 1500, "it scrolls in itself"


def test_code_has_its_language_and_can_be_copied(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, size=DESKTOP, permissions=["clipboard-read", "clipboard-write"])
    stage.ask()
    stage.say("x")
    stage.end(html='<div data-block="a"><pre data-language="python"><code>a = 1\n</code></pre></div>')
    answer = stage.screen.answers.last
    expect(answer.locator(".codehead")).to_contain_text("python")
    stage.screen.button("Copy code", answer).click()
    expect(stage.screen.button("Copied", answer)).to_be_visible()
    assert stage.screen.page.evaluate("() => navigator.clipboard.readText()") == "a = 1\n"
    wrap = stage.screen.button("Wrap", answer)
    wrap.click()
    expect(wrap).to_have_attribute("aria-pressed", "true")


def test_a_turn_has_its_length_and_tokens(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    stage.say("hello")
    usage = {"input_tokens": 1200, "output_tokens": 300}
    stage.end(usage=usage, timestamp="2026-01-02T03:05:15.123Z")
    expect(stage.screen.answers.last).to_contain_text("1:10 · 1.5K tokens")


def test_what_the_agent_does_now_is_told(site: Site, sid: str) -> None:
    stage = open_stage(site, sid, changed=WORKSPACE)
    stage.ask()
    stage.play(
        "plan_updated",
        entries=[{"content": "a", "status": "completed"}, {"content": "b", "status": "pending"}],
    )
    stage.tool("Edit", {"file_path": "/home/me/bakery/app.py"}, output=None)
    strip = stage.screen.page.locator(".strip")
    expect(strip).to_contain_text("Edit app.py")
    expect(strip).to_contain_text("to-do 1/2")
    stage.end()
    expect(strip).to_be_hidden()


def test_a_restarted_block_does_not_count(site: Site, sid: str) -> None:
    stage = open_stage(site, sid)
    stage.ask()
    stage.say("half an ans", "a")
    stage.say("", "a")
    stage.play("block_dropped", block="a")
    stage.say("The answer.", "b")
    expect(stage.screen.answers.last).to_contain_text("The answer.")
    expect(stage.screen.answers.last).not_to_contain_text("half an")


def test_an_answer_that_comes_again_is_drawn_again(site: Site, sid: str) -> None:
    site.make(sid, "hello", "**bold**")
    screen = site.signed_in()
    for _ in range(3):
        screen.link_to(sid).click()
        expect(screen.answers.last.locator("strong")).to_have_text("bold")
        expect(screen.answers.first).to_contain_text("echo: hello")
        screen.page.go_back()
