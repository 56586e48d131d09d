"""`@` in the box finds files of the workspace."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, expect

from tests.web.axe import faults
from tests.web.browser import DESKTOP, Screen, Site
from tests.web.repository import make_repository

FILES = {"src/oven.py": "1\n", "src/bread.py": "2\n", "README.md": "3\n"}


def open_box(site: Site, sid: str, **more: Any) -> tuple[Screen, Locator]:
    work = make_repository(site, sid, FILES)
    with site.phone() as phone:
        work.attach(phone)
    screen = site.signed_in(to=sid, **more)
    return screen, screen.page.get_by_role("listbox", name="Files", exact=True)


def test_a_file_is_chosen_by_keyboard(site: Site, sid: str) -> None:
    screen, offered = open_box(site, sid, size=DESKTOP)
    screen.box.press_sequentially("look at @py")
    expect(offered.get_by_role("option")).to_have_count(2)
    first = offered.get_by_role("option").first.inner_text()
    second = offered.get_by_role("option").last.inner_text()
    assert {first, second} == {"src/oven.py", "src/bread.py"}
    assert faults(screen.page) == []
    screen.box.press("ArrowDown")
    screen.box.press("Enter")
    expect(screen.box).to_have_value(f"look at @{second} ")
    expect(offered).to_be_hidden()
    screen.box.press("Enter")
    expect(screen.answers.last).to_contain_text(f"echo: look at @{second}")


def test_a_file_is_chosen_by_touch_and_escape_leaves_the_text(site: Site, sid: str) -> None:
    screen, offered = open_box(site, sid)
    screen.box.press_sequentially("@oven")
    offered.get_by_role("option", name="src/oven.py").tap()
    expect(screen.box).to_have_value("@src/oven.py ")
    expect(screen.box).to_be_focused()
    screen.box.press_sequentially("@bre")
    expect(offered.get_by_role("option")).to_have_count(1)
    screen.box.press("Escape")
    expect(offered).to_be_hidden()
    expect(screen.box).to_have_value("@src/oven.py @bre")


def test_an_address_is_no_search(site: Site, sid: str) -> None:
    screen, offered = open_box(site, sid)
    asked: list[str] = []
    screen.page.on("request", lambda one: asked.append(one.url) if "/files?q=" in one.url else None)
    screen.box.press_sequentially("me@oven and @rea")
    expect(offered.get_by_role("option", name="README.md")).to_be_visible()
    assert [one.rpartition("=")[2][:3] for one in asked] == ["rea"] * len(asked)
