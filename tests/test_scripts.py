"""Examples on pages and scripts inside strings import what is there. No type checker sees them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.test_imports import ALLOWED, ROOT, modules, name_of

_OURS = "|".join((*ALLOWED, "tests"))
_IMPORT = re.compile(rf"(?:^|;)\s*from ((?:{_OURS})[\w.]*) import (?:\(([^)]*)\)|([^\n;(]*))", re.MULTILINE)

FILES = [*modules(*ALLOWED, "tests", "bench"), *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("*.md"))]


def texts_of(path: Path) -> Iterator[str]:
    """Yield a page, or the literals of a module that import something."""
    source = path.read_text()
    if path.suffix == ".md":
        yield source
        return
    if _IMPORT.search(source.replace("from __future__", "")):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " import " in node.value:
                yield node.value


@cache
def names_in(module: str) -> frozenset[str]:
    """Return the names that a module has, and the modules of a folder; none if there is no such module."""
    path = ROOT.joinpath(*module.split("."))
    found = {one.stem for one in path.glob("*.py")} | {one.name for one in path.glob("*/")}
    source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    for node in ast.parse(source.read_text()).body if source.exists() else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return frozenset(found)


def missing_in(text: str) -> list[str]:
    """Return each name that a text imports from us and that is not there."""
    return [
        f"{found[1]}.{name}"
        for found in _IMPORT.finditer(text)
        for part in re.sub(r"#[^\n]*", "", found[2] or found[3] or "").split(",")
        if (name := part.split(" as ")[0].strip()).isidentifier() and name not in names_in(found[1])
    ]


def test_texts_import_what_is_there() -> None:
    missing = {name_of(path): [one for text in texts_of(path) for one in missing_in(text)] for path in FILES}
    missing.pop(name_of(Path(__file__)))  # it has planted ones
    assert {name: found for name, found in missing.items() if found} == {}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("from actors.commands import Send, Nothing", ["actors.commands.Nothing"]),
        ("import os; from actors.nowhere import Send\n", ["actors.nowhere.Send"]),
        ("from actors.commands import (\n    Send,\n    Never,\n)", ["actors.commands.Never"]),
        ("from actors import commands as cmd\nfrom actors.commands import Send", []),
    ],
)
def test_finds_a_planted_import(text: str, missing: list[str]) -> None:
    assert missing_in(text) == missing
