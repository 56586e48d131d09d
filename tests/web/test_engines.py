"""The engines themselves: what they can do, and that they are gone at the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.server import ROOT
from tests.web.browser import Restarted
from tests.web.engines.differences import ABILITIES, Ability, can
from tests.web.engines.page import Engine, EngineName, Part
from tests.web.engines.start import ENGINES, open_engine
from tests.web.sizes import PHONE
from tests.web.visitors import KEY, Visitors, button

DOCS = ROOT / "docs" / "internals" / "testing.md"


def test_what_each_engine_can_do(visitors: Visitors) -> None:
    """If this fails, an engine has changed: correct `engines/differences.py` and the docs."""
    visitor = visitors.come()
    visitor.go("")
    visitor.page.expect(KEY)
    able = [one.name for one in ABILITIES if one.is_there(visitor.page)]
    assert able == [one.name for one in ABILITIES if visitors.engine.name not in one.cannot]


def test_dictate_is_offered_if_the_engine_can(visitors: Visitors, sid: str) -> None:
    visitors.make(sid, "hello")
    visitor = visitors.signed_in(sid)
    visitor.page.expect(button("Send"))
    assert (visitor.page.count(button("Dictate")) == 1) == can(visitors.engine.name, "dictation")


@pytest.mark.parametrize("ability", [one for one in ABILITIES if one.cannot], ids=lambda one: one.name)
def test_docs_list_what_an_engine_cannot_do(ability: Ability) -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for engine, reason in ability.cannot.items():
        assert f"| {ability.name} | {engine} | {reason} |" in rows


class PlantedError(Exception):
    """What a test that fails raises."""


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_left_of_a_test_that_fails(name: EngineName, tmp_path: Path, chromium: Restarted) -> None:
    chromium.close()
    started: set[psutil.Process] = set()
    with pytest.raises(PlantedError):
        fail_with_two_pages(name, tmp_path, started)
    assert started
    assert psutil.wait_procs(started, timeout=10)[1] == []


def fail_with_two_pages(name: EngineName, folder: Path, started: set[psutil.Process]) -> None:
    own = psutil.Process()
    before = set(own.children(recursive=True))
    with open_engine(name, folder) as engine:
        for _ in range(2):
            engine.open(PHONE)
        new = set(own.children(recursive=True)) - before
        # An engine of other tests, which runs on, may start a process of its own at any time.
        started |= {one for one in new if not is_below(one, before)}
        raise PlantedError


def is_below(process: psutil.Process, others: set[psutil.Process]) -> bool:
    """Tell whether a process is below one of the others, or gone."""
    try:
        return bool(others & set(process.parents()))
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_left_of_tests_that_are_killed(name: EngineName, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, name, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as tests:
        assert tests.stdout is not None
        assert tests.stdout.readline() == b"open\n"
        started = psutil.Process(tests.pid).children(recursive=True)
        tests.kill()
    assert started
    assert psutil.wait_procs(started, timeout=20)[1] == []


OPEN = """
import signal, sys
from pathlib import Path
from tests.web.engines.start import open_engine
from tests.web.sizes import PHONE

with open_engine(sys.argv[1], Path(sys.argv[2])) as engine:
    page = engine.open(PHONE)
    print("open", flush=True)
    signal.pause()
"""
"""Tests that hang with a page open."""


def test_a_condition_ends_at_its_limit(engine: Engine) -> None:
    page = engine.open(PHONE)
    try:
        page.goto("data:text/html,<button>Go</button>")
        with pytest.raises(AssertionError, match=r"'Stop'.*there is none"):
            page.expect(Part("button", "Stop"), limit_s=0.1)
        page.expect(Part("button", "Go"), limit_s=0.1)
    finally:
        page.close()
