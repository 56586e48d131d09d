"""Gives every test its level, by its folder, and keeps a file whole in one process."""

from __future__ import annotations

from pathlib import Path

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level, and with its file as the group that one process runs."""
    for item in items:
        path = item.path.relative_to(ROOT)
        item.add_marker(level_of(path))
        if path.as_posix() not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(path.as_posix()))
