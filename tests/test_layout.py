"""The tree can be read: no file is long, and no folder has many files."""

from __future__ import annotations

from collections import Counter

from tests.test_imports import ALLOWED, modules, name_of

MAX_LINES = 400
MAX_FILES = 15

FULL = {
    "bridgehub/agents/acp": 16,
}
"""Folders that have more files, and how many. It only shrinks."""


def test_no_file_is_long() -> None:
    lines = {name_of(path): path.read_text().count("\n") for path in modules(*ALLOWED)}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}, "split by subject"


def test_no_folder_is_crowded() -> None:
    found = Counter(
        name_of(path.parent) for path in modules(*ALLOWED) if path.name not in ("__init__.py", "__main__.py")
    )
    crowded = {folder: count for folder, count in found.items() if count > MAX_FILES}
    assert crowded == FULL, "sort a folder's files into rooms, and let a folder that has room leave FULL"
