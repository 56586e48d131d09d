"""`make web-load`: the web client under load in Chromium at a quarter of the processor's speed, with figures.

No task of the page's main thread may take more than 100 ms of the processor, and a long stream may not cost memory
beyond its text. ARGS="--only stream" runs one load, ARGS="--seconds 10" streams for a shorter time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from playwright.sync_api import CDPSession, expect

from tests.e2e.shared_server import run_shared
from tests.standin.anthropic import standin_env
from tests.support.server import ROOT
from tests.web.browser import DESKTOP, SCREENSHOTS, Screen, Site, open_browser
from tests.web.repository import make_repository
from tests.web.tracing import traced

SLOWNESS = 4
"""The page's processor runs at one in so many of its speed."""

LONGEST_MS = 100.0
MOST_GROWTH_MB = 8.0
"""Of the heap during a stream, whose text itself is less than 1 MB a minute."""

SESSIONS = 500
CALLS = 200
WORDS_A_SECOND = 1000
PATCH_LINES = 5000

POLL_MS = 250

ANSWERS = "[role=log] [data-role=assistant]"

TURN_ENDED = f"[...document.querySelectorAll('{ANSWERS}')].at(-1)?.getAttribute('aria-busy') !== 'true'"

MORE = """() => {
    const more = [...document.querySelectorAll("nav button")].find((one) => /more|older/i.test(one.textContent));
    more?.click();
    return document.querySelector("nav a[href='#/s/trip-000']") !== null;
}"""
"""Asks for more of the list if a button offers it; returns whether the oldest session is there."""

OPEN_FILE = "() => document.querySelector('.changedfile summary').click()"
SIDE_BY_SIDE = "() => document.querySelector('.changes .choice').lastElementChild.click()"
AT_THE_END = """(() => {
    const more = [...document.querySelectorAll(".patch > button")].at(-1);
    more?.scrollIntoView({ block: "end" });
    return more?.hidden === true;
})()"""
"""Scrolls to the end of what is drawn of a patch; returns whether that is all."""

TURN_MS = 600_000
"""The longest wait for a turn of the real Claude Code with its tools; it takes a minute on a busy machine."""


@attrs.frozen
class Figure:
    """What was measured, in a unit, and the most that it may be."""

    name: str
    value: float
    most: float
    unit: str = "ms"

    @property
    def is_good(self) -> bool:
        """Whether the value is within its limit."""
        return self.value <= self.most

    def __str__(self) -> str:
        mark = "" if self.is_good else "  TOO MUCH"
        return f"{self.name:<52} {self.value:8.1f} {self.unit} (at most {self.most:g}){mark}"


def main() -> int:
    """Run; return 1 if a figure is over its limit."""
    loads: dict[str, Callable[[Site, Path, int], Iterator[Figure]]] = {
        "sessions": many_sessions,
        "tools": many_tools,
        "stream": long_stream,
        "changes": long_patch,
    }
    parser = argparse.ArgumentParser(prog="make web-load", description=__doc__)
    parser.add_argument("--only", choices=loads, help="one load instead of all")
    parser.add_argument("--seconds", type=int, default=60, help="length of the stream (default: %(default)s)")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for name in [arguments.only] if arguments.only else loads:
        with tempfile.TemporaryDirectory(prefix="web-load-") as folder, open_site(Path(folder)) as site:
            for figure in loads[name](site, Path(folder), arguments.seconds):
                print(figure, flush=True)
                figures.append(figure)
            for mistake in site.close_pages():
                print(f"A script failed: {mistake}", flush=True)
                figures.append(Figure("scripts that failed", 1, 0, ""))
    keep(figures)
    return 0 if all(figure.is_good for figure in figures) else 1


def keep(figures: list[Figure]) -> None:
    """Write the figures beside the pictures of the tests."""
    path = SCREENSHOTS.parent / "web-load.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({figure.name: round(figure.value, 1) for figure in figures}, indent=1))


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """Run a server whose Claude Code calls many tools, and a browser."""
    notes = folder / "home" / "notes.txt"
    with run_model(notes) as url:
        table = standin_env(url, str(notes.parent))
        values = [
            f"{key} = {json.dumps(table[key])}" for key in sorted(table.keys() - {"PATH", "LANG", "HOME"})
        ]
        config = "\n".join(["[agents.claude.env]", *values, ""])
        with run_shared(folder, config) as server, open_browser() as browser:
            notes.write_text("".join(f"line {number}\n" for number in range(100)))
            yield Site(server, browser)


@contextmanager
def run_model(notes: Path) -> Iterator[str]:
    """Run the model service of `tool_model.py`; give its address."""
    command = [sys.executable, "-m", "tests.web.load.tool_model", str(CALLS), str(notes)]
    with subprocess.Popen(
        command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True
    ) as model:
        try:
            assert model.stdout is not None
            yield model.stdout.readline().strip()
        finally:
            model.kill()


def slow_down(screen: Screen) -> CDPSession:
    """Slow the page's processor down."""
    session = screen.context.new_cdp_session(screen.page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWNESS})
    return session


def wait(screen: Screen, condition: str) -> None:
    """Wait until an expression is true in the page.

    Inside a trace nothing else may look: to find a role among a thousand elements is itself a long task.
    """
    screen.page.wait_for_function(f"() => {condition}", polling=POLL_MS, timeout=TURN_MS)


def last_answer_has(text: str) -> str:
    """Return the condition that the newest answer has a text."""
    return f"[...document.querySelectorAll({ANSWERS!r})].at(-1)?.textContent.includes({text!r})"


# ---- the loads ----


def many_sessions(site: Site, folder: Path, seconds: int) -> Iterator[Figure]:
    """Open a list of 500 sessions, look at its end, and see one change."""
    with site.phone() as phone:
        for number in range(SESSIONS):
            phone.attach(f"trip-{number:03d}")
    screen = site.signed_in(size=DESKTOP)
    expect(screen.link_to(f"trip-{SESSIONS - 1}")).to_be_visible()
    slow_down(screen)
    screen.page.goto("about:blank")
    with traced(screen.page) as tasks:
        screen.go("#/")
        wait(screen, f"document.querySelector('a[href=\"#/s/trip-{SESSIONS - 1}\"]')")
        wait(screen, "document.querySelector('[role=status]').textContent === 'live'")
    yield Figure(f"list of {SESSIONS} sessions opens: longest task", max(tasks), LONGEST_MS)
    box = screen.sessions.bounding_box()
    assert box is not None
    screen.page.mouse.move(box["x"] + 50, box["y"] + box["height"] / 2)
    with traced(screen.page) as tasks:
        for _ in range(SESSIONS):
            screen.page.mouse.wheel(0, 3000)
            if screen.page.evaluate(MORE):
                break
    expect(screen.link_to("trip-000")).to_be_attached()
    yield Figure(f"list of {SESSIONS} sessions scrolls: longest task", max(tasks), LONGEST_MS)
    with traced(screen.page) as tasks, site.phone() as phone:
        phone.attach("trip-000")
        phone.ask("trip-000", "/words 20 50")
        wait(screen, "document.querySelector('nav a[href^=\"#/s/\"]').hash === '#/s/trip-000'")
    yield Figure(f"one of {SESSIONS} sessions changes: longest task", max(tasks), LONGEST_MS)


def many_tools(site: Site, folder: Path, seconds: int) -> Iterator[Figure]:
    """Watch a turn of 200 tool calls, then open it again."""
    site.make("tools", agent="claude")
    screen = site.signed_in(to="tools", size=DESKTOP)
    slow_down(screen)
    with traced(screen.page) as tasks:
        screen.send("Read the notes.")
        wait(screen, last_answer_has(f"All {CALLS} calls are done."))
        wait(screen, TURN_ENDED)
    yield Figure(f"turn of {CALLS} tool calls runs: longest task", max(tasks), LONGEST_MS)
    screen.shoot("load-tools")
    screen.page.goto("about:blank")
    with traced(screen.page) as tasks:
        screen.go("#/s/tools")
        wait(screen, last_answer_has(f"All {CALLS} calls are done."))
    yield Figure(f"turn of {CALLS} tool calls opens: longest task", max(tasks), LONGEST_MS)


def long_stream(site: Site, folder: Path, seconds: int) -> Iterator[Figure]:
    """Watch a stream of 1,000 words a second."""
    words = WORDS_A_SECOND * seconds
    site.make("stream")
    screen = site.signed_in(to="stream", size=DESKTOP)
    session = slow_down(screen)
    session.send("Performance.enable")
    screen.send(f"/words {words} {1000 / WORDS_A_SECOND:g}")
    wait(screen, last_answer_has(f"w{words // 5} "))
    before = heap_mb(session)
    with traced(screen.page) as tasks:
        wait(screen, last_answer_has(f"w{words * 4 // 5} "))
    yield Figure(f"{WORDS_A_SECOND} words a second: longest task", max(tasks), LONGEST_MS)
    yield Figure(
        f"{WORDS_A_SECOND} words a second: heap grows by", heap_mb(session) - before, MOST_GROWTH_MB, "MB"
    )
    with traced(screen.page) as tasks:
        wait(screen, last_answer_has(f"w{words - 1}"))
        wait(screen, TURN_ENDED)
    yield Figure(f"stream of {words} words ends: longest task", max(tasks), LONGEST_MS)


def long_patch(site: Site, folder: Path, seconds: int) -> Iterator[Figure]:
    """Open a patch of 5,000 lines, look through it, and put its sides beside each other."""
    numbers = range(PATCH_LINES // 2)
    work = make_repository(site, "changes", {"big.py": "".join(f"value = {one}\n" for one in numbers)})
    work.turn({"big.py": "".join(f"value = {one} + 1\n" for one in numbers)})
    screen = site.signed_in(to="changes", size=DESKTOP)
    screen.button("View", screen.answers.last.locator(".changed")).click()
    expect(screen.page.get_by_text(f"+{PATCH_LINES // 2} −{PATCH_LINES // 2}.")).to_be_visible()
    slow_down(screen)
    for name, press in (("opens", OPEN_FILE), ("side by side", SIDE_BY_SIDE)):
        with traced(screen.page) as tasks:
            screen.page.evaluate(press)
            wait(screen, AT_THE_END)
        yield Figure(f"patch of {PATCH_LINES} lines {name}: longest task", max(tasks), LONGEST_MS)
    screen.shoot("load-changes")


def heap_mb(session: CDPSession) -> float:
    """Return what the page's heap holds after its garbage is collected."""
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "JSHeapUsedSize") / 1e6


if __name__ == "__main__":
    sys.exit(main())
