"""Imports point one way, as in the table of docs/internals/architecture.md; pure modules import nothing that acts.

Read from the syntax tree, so imports in functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ALLOWED: dict[str, tuple[str, ...]] = {
    "builderos": ("transport", "actors", "storage", "bridgehub"),
    "transport": ("actors", "storage", "bridgehub.workspace", "bridgehub.desk"),
    "actors": ("storage", "bridgehub.protocol", "bridgehub.workspace", "bridgehub.desk"),
    "storage": (),
    "bridgehub": (),
}
"""Folder: what it may import, itself aside."""

PURE_FILES = (
    "actors/codec.py",
    "actors/session/command_steps.py",
    "actors/session/desk_steps.py",
    "actors/commands.py",
    "actors/events.py",
    "actors/session/hub_life_steps.py",
    "actors/session/hub_steps.py",
    "actors/session/snapshot.py",
    "actors/session/state.py",
    "actors/pieces.py",
    "actors/invariants.py",
    "bridgehub/desk/claude_rows.py",
    "bridgehub/desk/codex_rows.py",
    "bridgehub/desk/records.py",
    "bridgehub/desk/turns.py",
    "bridgehub/protocol/codec.py",
    "bridgehub/protocol/events.py",
    "bridgehub/protocol/framing.py",
    "bridgehub/protocol/limits.py",
    "bridgehub/protocol/messages.py",
    "builderos/export/state.py",
    "builderos/client/state.py",
    "builderos/client/frames.py",
    "builderos/client/requests.py",
    "builderos/client/screen.py",
    "storage/records.py",
    "transport/ios/state.py",
    "transport/ios/wire.py",
    "transport/request_text.py",
    "transport/request_head.py",
    "transport/v3/decode.py",
    "transport/websocket/frames.py",
)
"""Files with no effects: events in, state and effects out. Clock, ids and I/O are arguments."""

IMPURE_MODULES = frozenset({"trio", "apsw", "os", "time", "random", "socket", "subprocess", "threading"})


def imported_names(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and absolute dotted name of every import in `source`, a module of `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"} and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def forbidden_arrows(source: str, package: str) -> list[str]:
    """Return each import of `source` that its folder may not make, as `line: name`."""
    folder = package.partition(".")[0]
    found = []
    for line, name in imported_names(source, package):
        target = name.partition(".")[0]
        if target == "tests" or (
            target in ALLOWED
            and target != folder
            and not any(name == ok or name.startswith(ok + ".") for ok in ALLOWED[folder])
        ):
            found.append(f"{line}: {name}")
    return found


def impure_imports(source: str, package: str) -> list[str]:
    """Return each import of `source` that a pure module may not make, as `line: name`."""
    return [
        f"{line}: {name}"
        for line, name in imported_names(source, package)
        if name.partition(".")[0] in IMPURE_MODULES
    ]


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def package_of(path: Path) -> str:
    """Return the dotted package that relative imports of `path` start from."""
    return ".".join(path.relative_to(ROOT).parent.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules(*ALLOWED), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    assert forbidden_arrows(path.read_text(), package_of(path)) == []


def test_all_folders_are_walked() -> None:
    for folder in ALLOWED:
        assert modules(folder), folder


@pytest.mark.parametrize("name", PURE_FILES)
def test_pure_modules_import_nothing_that_acts(name: str) -> None:
    path = ROOT / name
    assert impure_imports(path.read_text(), package_of(path)) == []


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("actors", "import transport"),
        ("actors", "from bridgehub.agents.base import AgentDriver"),
        ("actors", "from bridgehub import agents"),
        ("actors", "def late():\n    from transport import listener"),
        ("storage", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from actors import events"),
        ("bridgehub.agents", "from ...storage import records"),
        ("bridgehub", "import builderos.cli as cli"),
        ("transport", "from bridgehub.protocol.messages import Prompt"),
        ("transport", "import importlib\nimportlib.import_module('builderos.cli')"),
        ("storage", "from tests import support"),
    ],
)
def test_a_planted_violation_is_found(package: str, source: str) -> None:
    assert len(forbidden_arrows(source, package)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("actors", "from bridgehub.protocol.messages import Prompt"),
        ("actors", "from bridgehub.protocol import messages"),
        ("actors", "from storage.records import Row"),
        ("bridgehub.agents", "from ..protocol import messages\nfrom . import base"),
        ("transport", "import trio, actors.commands"),
        ("builderos", "from bridgehub.agents import registry"),
    ],
)
def test_an_allowed_arrow_is_left_alone(package: str, source: str) -> None:
    assert forbidden_arrows(source, package) == []


def test_a_planted_effect_in_a_pure_module_is_found() -> None:
    assert impure_imports("import os.path\nfrom trio import sleep\nimport attrs", "actors") == [
        "1: os.path",
        "2: trio.sleep",
    ]
