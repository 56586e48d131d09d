"""No wait of these tests is without a limit, and a browser that does not start is started once more."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.engines.chromium import NAMES
from tests.web.engines.programs import find_program, opened_twice
from tests.web.limits import HungError, at_most

SHORT_S = 0.2
LONG_S = 60.0


def test_a_wait_ends_at_its_limit() -> None:
    with pytest.raises(HungError, match=r"a lock: not within 0.2 s"), at_most(SHORT_S, "a lock"):
        threading.Event().wait()


def test_an_inner_limit_leaves_the_outer_one() -> None:
    def within() -> None:
        with at_most(LONG_S, "inner"):
            pass
        threading.Event().wait()

    with pytest.raises(HungError, match="outer"), at_most(SHORT_S, "outer"):
        within()


def test_a_limit_that_was_swallowed_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.web.limits.AGAIN_S", SHORT_S)
    swallowed: list[HungError] = []

    def swallow() -> None:
        try:
            threading.Event().wait()
        except HungError as error:
            swallowed.append(error)
        threading.Event().wait()

    with pytest.raises(HungError), at_most(SHORT_S, "a callback"):
        swallow()
    assert len(swallowed) == 1


def test_a_script_that_never_answers_ends_with_an_error(browser: Browser) -> None:
    page = browser.new_page()
    try:
        with pytest.raises(HungError), at_most(SHORT_S, "a script"):
            page.evaluate("() => new Promise(() => {})")
        assert page.evaluate("() => 1 + 1") == 2, "the browser still answers"
    finally:
        page.close()


def test_a_start_that_hangs_is_ended_and_tried_once_more() -> None:
    hung: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def program() -> Iterator[str]:
        if not hung:
            hung.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
            hung[0].wait()
        yield "open"

    with opened_twice(program, "a program", start_s=SHORT_S) as value:
        assert value == "open"
    assert hung[0].wait(10) == -signal.SIGKILL


def test_a_second_start_that_fails_is_an_error() -> None:
    tries: list[int] = []

    @contextmanager
    def program() -> Iterator[None]:
        tries.append(1)
        if tries:
            raise OSError("no display")
        yield

    with pytest.raises(OSError, match="no display"), opened_twice(program, "a program"):
        pass
    assert len(tries) == 2


def test_a_browser_that_dies_at_its_start_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_program("CHROMIUM", NAMES, "chromium")
    script = tmp_path / "chromium"
    died = tmp_path / "died"
    script.write_text(f'#!/bin/sh\nif [ ! -e {died} ]; then touch {died}; exit 1; fi\nexec {real} "$@"\n')
    script.chmod(0o700)
    command = (
        "from tests.web.engines.chromium import open_browser\n"
        "with open_browser() as browser: print(browser.new_page().evaluate('1 + 1'))"
    )
    monkeypatch.setenv("CHROMIUM", str(script))
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, timeout=LONG_S)
    assert done.stdout.endswith("\n2\n"), done.stderr
    assert died.exists()
