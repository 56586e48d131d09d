"""The tree can be read: no file is long, few are short, and no folder has many files."""

from __future__ import annotations

from collections import Counter

from tests.test_imports import ALLOWED, modules, name_of

MAX_LINES = 400
MAX_FILES = 15

SHORT_LINES = 60
MAX_SHORT = 25
"""Files that are shorter: each costs a reader a look. It only shrinks."""

_ENTRIES = ("__init__.py", "__main__.py")


def test_no_file_is_long() -> None:
    lines = {name_of(path): path.read_text().count("\n") for path in modules(*ALLOWED)}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}, "split by subject"


def test_few_files_are_short() -> None:
    lines = {
        name_of(path): path.read_text().count("\n") for path in modules(*ALLOWED) if path.name not in _ENTRIES
    }
    short = sorted(name for name, count in lines.items() if count < SHORT_LINES)
    assert len(short) <= MAX_SHORT, f"put one of these where its subject is: {short}"


def test_no_folder_is_crowded() -> None:
    found = Counter(name_of(path.parent) for path in modules(*ALLOWED) if path.name not in _ENTRIES)
    crowded = {folder: count for folder, count in found.items() if count > MAX_FILES}
    assert crowded == {}, "sort a folder's files into rooms"
