"""Gives every test its level, by its folder, keeps a file whole in one process, and sets the order of the files."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parent

LEVELS = {
    "actors": "actors",
    "fakes": "actors",
    "simulation": "stress",
    "support": "unit",
    "torture": "stress",
    "web": "browser",
}
"""Folder: level. A file beside this one is `unit`; every other folder is `real`."""

SPREAD = frozenset({"simulation/test_histories.py"})
"""Files whose tests share nothing, so that each may run in any process."""


def level_of(path: Path) -> str:
    """Return the level of a test file, given relative to this folder."""
    return "unit" if len(path.parts) == 1 else LEVELS.get(path.parts[0], "real")


SHUFFLE = "SHUFFLE"
"""The environment variable with the seed of the fast tests' order; `new` draws one."""

JOURNEYS = frozenset({"web/test_journeys.py", "web/test_journeys_away.py"})
"""Files whose tests take turns: each runs in one engine, the next one in the next. `ENGINES=all`: each in all."""


def take_turns(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the tests of journeys that are left out, since it is another engine's turn."""
    turns: dict[str, int] = {}
    left_out: list[pytest.Item] = []
    for item in items:
        if isinstance(item, pytest.Function) and item.path.relative_to(ROOT).as_posix() in JOURNEYS:
            engines = ("chromium", "firefox", "webkit")
            engine = item.callspec.params.get("engine")
            turn = turns.setdefault(item.originalname, len(turns)) % len(engines)
            if engine in engines and engine != engines[turn]:
                left_out.append(item)
    return left_out


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with its level, and with its file as the group that one process runs."""
    for item in items:
        path = item.path.relative_to(ROOT)
        item.add_marker(level_of(path))
        if path.as_posix() not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(path.as_posix()))
    if os.environ.get("ENGINES") != "all" and len({item.path for item in items}) > 1:
        left_out = take_turns(items)
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items[:] = in_order(items)
    if seed := os.environ.get(SHUFFLE):
        items[:] = shuffled(items, seed)


def pytest_collection_finish() -> None:
    """Leave what is loaded out of each later search for garbage, which would take a third of a second."""
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Choose a seed for `SHUFFLE=new`, once for all processes of a run."""
    if os.environ.get(SHUFFLE) == "new":
        os.environ[SHUFFLE] = str(secrets.randbelow(100_000))


def pytest_report_header() -> list[str]:
    """Name the seed, so that the order can be had again."""
    seed = os.environ.get(SHUFFLE)
    return [f"fast tests in the order of {SHUFFLE}={seed}"] if seed else []


def shuffled(items: list[pytest.Item], seed: str) -> list[pytest.Item]:
    """Return the tests with the fast ones in an order of chance: files whole, and the tests inside a file."""
    chance = Random(seed)
    fast: dict[Path, list[pytest.Item]] = {}
    slow: list[pytest.Item] = []
    for item in items:
        if level_of(item.path.relative_to(ROOT)) in ("unit", "actors"):
            fast.setdefault(item.path, []).append(item)
        else:
            slow.append(item)
    files = list(fast.values())
    chance.shuffle(files)
    for file in files:
        chance.shuffle(file)
    return [*slow, *chain.from_iterable(files)]


def in_order(items: Iterable[pytest.Item]) -> Iterator[pytest.Item]:
    """Return the tests as they are to run: first the slow files, so that no process ends with a long one alone.

    Files that keep a processor busy alternate with those that mostly wait for other programs.
    """
    files: dict[str, dict[Path, list[pytest.Item]]] = {name: {} for name in ("busy", "waits", "fast")}
    for item in items:
        level = level_of(item.path.relative_to(ROOT))
        kind = {"browser": "busy", "stress": "busy", "real": "waits"}.get(level, "fast")
        files[kind].setdefault(item.path, []).append(item)
    none: list[pytest.Item] = []
    slow = zip_longest(files["busy"].values(), files["waits"].values(), fillvalue=none)
    return chain.from_iterable([*chain.from_iterable(slow), *files["fast"].values()])
