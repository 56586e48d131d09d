"""The file viewer: from a tool call, from the changes, and for what is not text."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, PHONE, Site, Size
from tests.web.repository import make_repository
from tests.web.stage import open_stage

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CODE = 'def bake() -> str:\n    return "<b>bread</b>"\n'


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=lambda one: one.name)
def test_a_file_opens_from_the_changes_and_closing_leads_back(site: Site, sid: str, size: Size) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"src/bake.py": CODE})
    screen = site.signed_in(to=sid, size=size)
    kind = "region" if size is DESKTOP else "dialog"
    screen.button("View", screen.answers.last.locator(".changed")).click()
    changes = screen.page.get_by_role(kind, name="Changes", exact=True)  # type: ignore[arg-type]
    screen.button("Open file", changes).click()
    file = screen.page.get_by_role(kind, name="src/bake.py", exact=True)  # type: ignore[arg-type]
    expect(file.locator("code")).to_have_text(CODE)
    expect(file.locator("code .k").first).to_have_text("def")
    expect(file.locator(".numbers")).to_have_text("1\n2")
    numbers, code = file.locator(".numbers").bounding_box(), file.locator("pre:not(.numbers)").bounding_box()
    assert numbers
    assert code
    assert abs(numbers["height"] - code["height"]) < 25, "numbers are beside their lines"
    assert faults(screen.page) == []
    screen.button("Close", file).click()
    expect(file).to_have_count(0)
    expect(changes).to_be_visible()


def test_a_file_opens_from_a_tool_call(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "".join(f"line {number}\n" for number in range(1200))})
    with site.phone() as phone:
        work.attach(phone)
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    stage.tool("Read", {"file_path": f"{work.folder}/a.txt"})
    stage.tool("Read", {"file_path": "/etc/hosts"})
    rows = screen.log.locator(".tool summary")
    expect(rows).to_have_count(2)
    for row in rows.all():
        row.click()
    expect(screen.log.get_by_role("button", name="Open")).to_have_count(1)
    screen.button("Open a.txt").click()
    file = screen.page.get_by_role("dialog", name="a.txt", exact=True)
    expect(file.locator(".numbers").last).to_contain_text("1200")
    expect(file.get_by_text("line 1199")).to_be_attached()


def test_a_picture_is_shown_and_bytes_can_be_saved(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    (work.folder / "pixel.png").write_bytes(PIXEL)
    (work.folder / "data.bin").write_bytes(b"\x00\x01\x02")
    with site.phone() as phone:
        work.attach(phone)
        request = work.begin(phone)
        (work.folder / "pixel2.png").write_bytes(PIXEL)
        (work.folder / "data2.bin").write_bytes(b"\x00\x01\x02")
        work.finish(phone, request)
    screen = site.signed_in(to=sid)
    screen.button("View", screen.answers.last.locator(".changed")).click()
    for name in ("data2.bin", "pixel2.png"):
        row = screen.page.locator("details.changedfile").filter(has_text=name)
        screen.button("Open file", row).click()
        file = screen.page.get_by_role("dialog", name=name, exact=True)
        expect(screen.button(f"Save {name}", file)).to_be_visible()
        if name.endswith("png"):
            picture = file.get_by_role("img", name=name)
            expect(picture).to_be_visible()
            assert picture.evaluate("(one) => one.naturalWidth") == 1
        screen.button("Close", file).click()


def test_a_file_that_is_gone_is_reported(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n"})
    work.turn({"b.txt": "two\n"})
    screen = site.signed_in(to=sid)
    screen.button("View", screen.answers.last.locator(".changed")).click()
    work.write({"b.txt": None})
    screen.button("Open file").click()
    file = screen.page.get_by_role("dialog", name="b.txt", exact=True)
    expect(file.get_by_role("alert")).not_to_be_empty()
    work.write({"b.txt": "again\n"})
    screen.button("Try again", file).click()
    expect(file.locator("code")).to_contain_text("again")


PLACES = """async (texts) => {
    const { placeOf, placesIn } = await import("/js/places.js");
    const told = (place) => place && `${place.path} ${place.line}`;
    const inside = placesIn(texts.join(" "), "/w").map((one) => told(one.place));
    return [texts.map((one) => told(placeOf(one, "/w"))), inside.filter(Boolean)];
}"""


def test_what_is_a_place_in_a_file(site: Site) -> None:
    screen = site.signed_in()
    read = {
        "src/app.py": "src/app.py 0",
        "./app.py:12": "app.py 12",
        "src/app.py:12:5": "src/app.py 12",
        "/w/src/app.py#L3": "src/app.py 3",
        "docs/a.unknown": "docs/a.unknown 0",
        "/etc/passwd.txt": None,
        "../up.py": None,
        "self.name": None,
        "application/json": None,
        "1.5": None,
        "a sentence.py": None,
        "https://host/a.py:1": None,
    }
    whole, inside = screen.page.evaluate(PLACES, list(read))
    assert whole == list(read.values())
    assert inside == ["app.py 12", "src/app.py 12"]
    _, trace = screen.page.evaluate(
        PLACES, ['File "/w/a/b.py", line 7, in x', 'File "/usr/lib/x.py", line 1']
    )
    assert trace == ["a/b.py 7"]


BESIDE = """(mark) => {
    const part = mark.parentElement;
    const [numbers, code] = part.querySelectorAll("pre");
    const { top, height } = mark.getBoundingClientRect();
    const index = Math.round((top - code.getBoundingClientRect().top) / height);
    return [numbers, code].map((one) => one.textContent.split("\\n")[index]);
}"""
"""The number and the text that a mark is behind."""


def test_paths_in_answers_and_tools_lead_to_the_line(site: Site, sid: str) -> None:
    lines = ["x = '''" if number == 499 else f"line {number}" for number in range(1, 1201)]
    work = make_repository(site, sid, {"src/long.py": "\n".join(lines) + "\n", "a.txt": "a\n"})
    with site.phone() as phone:
        work.attach(phone)
    stage = open_stage(site, sid)
    screen = stage.screen
    stage.ask()
    stage.tool("Bash", {"command": "grep -n x"}, output="src/long.py:1100: line 1100\n/etc/hosts.txt:1: x")
    stage.say("x")
    code = "<p>See <code>src/long.py:700</code> and <code>self.name</code>.</p>"
    stage.end(html=f'<div data-block="a">{code}<pre><code>a.txt</code></pre></div>')
    link = screen.button("src/long.py:700")
    expect(link).to_be_visible()
    expect(screen.log.locator(".pathlink")).to_have_count(1)
    assert faults(screen.page) == []
    link.click()
    file = screen.page.get_by_role("dialog", name="src/long.py", exact=True)
    mark = file.locator(".linemark")
    expect(mark).to_be_in_viewport()
    expect(file.locator(".linepart")).to_have_count(3)
    assert mark.evaluate(BESIDE) == ["700", "line 700"]
    expect(file.locator(".linepart").nth(1).locator("code > span").first).to_be_attached()
    screen.button("Close", file).click()
    screen.log.locator(".tool summary").click()
    screen.button("src/long.py:1100", screen.log).click()
    expect(mark).to_be_in_viewport()
    assert mark.evaluate(BESIDE) == ["1100", "line 1100"]


def test_a_file_is_shown_as_it_was(site: Site, sid: str) -> None:
    work = make_repository(site, sid, {"a.txt": "one\n", "gone.txt": "it was here\n"})
    work.turn({"a.txt": "two\n", "gone.txt": None})
    work.write({"a.txt": "three\n"})
    screen = site.signed_in(to=sid)
    screen.button("View", screen.answers.last.locator(".changed")).click()
    row = screen.page.locator("details.changedfile")
    screen.button("Open file", row.filter(has_text="a.txt")).click()
    file = screen.page.get_by_role("dialog", name="a.txt", exact=True)
    for name, text in ((None, "three"), ("Before", "one"), ("After", "two"), ("Now", "three")):
        if name is not None:
            screen.button(name, file).click()
        expect(file.locator("code")).to_have_text(text)
        expect(screen.button(name or "Now", file)).to_have_attribute("aria-pressed", "true")
    screen.button("Close", file).click()
    screen.button("Open file", row.filter(has_text="gone.txt")).click()
    gone = screen.page.get_by_role("dialog", name="gone.txt", exact=True)
    expect(gone.locator("code")).to_have_text("it was here")
    expect(screen.button("Now", gone)).to_have_count(0)
