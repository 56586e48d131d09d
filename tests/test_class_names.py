"""A public class has a name of its own: a reader who looks for it finds one."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.test_imports import ALLOWED, modules, name_of

SHARED = {
    "BlockDropped": "what the hub reports becomes what the journal holds; the link's name is in old hubs",
    "Configure": "a device's command becomes the hub's; the link's name is in old hubs",
    "LeftOut": "part of what the hub reports, and of what the journal holds",
    "StopTask": "a device's command becomes the hub's; the link's name is in old hubs",
}
"""Names that two classes may have, and why. It only shrinks."""


def classes(paths: list[Path]) -> dict[str, list[str]]:
    """Return the files of each public class, by its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name_of(path))
    return found


def test_a_class_has_a_name_of_its_own() -> None:
    twice = {name: where for name, where in classes(modules(*ALLOWED)).items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in SHARED} == {}
    assert set(SHARED) - set(twice) == set(), "these are alone now: take them out of SHARED"
