"""Imports point one way, as in the table of docs/internals/architecture.md; pure modules import nothing that acts.

Read from the syntax tree, so imports in functions and under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

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

FORBIDDEN: dict[str, tuple[str, ...]] = {
    "actors.hubs": ("actors.session", "actors.supervisor"),
    "actors.session": ("actors.hubs", "actors.supervisor"),
    "bridgehub.agents.acp": (
        "bridgehub.agents.claude",
        "bridgehub.agents.codex",
        "bridgehub.agents.relay",
        "bridgehub.agents.registry",
    ),
    "bridgehub.agents.claude": (
        "bridgehub.agents.acp",
        "bridgehub.agents.codex",
        "bridgehub.agents.relay",
        "bridgehub.agents.registry",
    ),
    "bridgehub.agents.codex": (
        "bridgehub.agents.acp",
        "bridgehub.agents.claude",
        "bridgehub.agents.relay",
        "bridgehub.agents.registry",
    ),
    "bridgehub.agents.json_rpc": (
        "bridgehub.agents.acp",
        "bridgehub.agents.claude",
        "bridgehub.agents.codex",
        "bridgehub.agents.relay",
        "bridgehub.agents.registry",
    ),
    "bridgehub.protocol": (
        "bridgehub.agents",
        "bridgehub.delegation",
        "bridgehub.hub",
        "bridgehub.link",
        "bridgehub.trust",
        "bridgehub.workspace",
    ),
    "bridgehub.workspace": (
        "bridgehub.agents",
        "bridgehub.delegation",
        "bridgehub.hub",
        "bridgehub.link",
        "bridgehub.protocol",
        "bridgehub.trust",
    ),
    "builderos.client": ("builderos.commands", "builderos.export", "builderos.legacy", "builderos.server"),
    "builderos.export": ("builderos.commands", "builderos.legacy", "builderos.server"),
    "builderos.legacy": ("builderos.commands", "builderos.export", "builderos.server"),
    "builderos.server": ("builderos.commands", "builderos.legacy"),
    "storage.postgres": ("storage.backup", "storage.store"),
    "storage.sqlite": ("storage.backup", "storage.postgres", "storage.store", "storage.tables"),
    "storage.tables": ("storage.backup", "storage.postgres", "storage.store"),
    "transport.access": (
        "transport.http",
        "transport.ios",
        "transport.listener",
        "transport.push",
        "transport.rendering",
        "transport.upgrade",
        "transport.websocket",
    ),
    "transport.http": ("transport.ios", "transport.listener", "transport.upgrade", "transport.websocket"),
    "transport.ios": ("transport.http", "transport.listener", "transport.upgrade", "transport.v3.connection"),
    "transport.push": (
        "transport.http",
        "transport.ios",
        "transport.listener",
        "transport.upgrade",
        "transport.v3",
        "transport.websocket",
    ),
    "transport.rendering": (
        "transport.http",
        "transport.ios",
        "transport.ports",
        "transport.v3",
        "transport.websocket",
    ),
    "transport.v3": ("transport.http", "transport.ios", "transport.listener", "transport.upgrade"),
    "transport.websocket": (
        "transport.http",
        "transport.ios",
        "transport.listener",
        "transport.rendering",
        "transport.upgrade",
        "transport.v3",
    ),
}
"""Sub-folder: what in its own folder it may not import. It lies below, or it is a neighbour of the same kind."""

SHARED_BY_COMMANDS = ("builderos.commands.verify",)
"""Modules of `builderos/commands` that no command owns; a command imports no other command."""

DATABASES = frozenset({"apsw", "psycopg", "sqlite3"})
"""Packages of databases; only `storage` has SQL."""

PURE_FILES = (
    "actors/session/ack_pacer.py",
    "actors/events/codec.py",
    "actors/session/steps/command_steps.py",
    "actors/session/steps/decide.py",
    "actors/session/steps/decision_steps.py",
    "actors/session/steps/desk_steps.py",
    "actors/commands.py",
    "actors/events/committed.py",
    "actors/events/conversation.py",
    "actors/events/permissions.py",
    "actors/events/session.py",
    "actors/events/work.py",
    "actors/session/steps/hub_life_steps.py",
    "actors/session/steps/hub_steps.py",
    "actors/session/snapshot.py",
    "actors/session/apply.py",
    "actors/session/state.py",
    "actors/events/pieces.py",
    "actors/events/invariants.py",
    "actors/replies.py",
    "bridgehub/desk/claude_rows.py",
    "bridgehub/desk/codex_rows.py",
    "bridgehub/desk/records.py",
    "bridgehub/desk/turns.py",
    "bridgehub/protocol/codec.py",
    "bridgehub/protocol/events.py",
    "bridgehub/protocol/hub_spec.py",
    "bridgehub/protocol/limits.py",
    "bridgehub/protocol/messages.py",
    "bridgehub/protocol/requests.py",
    "bridgehub/protocol/session_events.py",
    "bridgehub/protocol/tool_events.py",
    "builderos/export/state.py",
    "builderos/client/state.py",
    "builderos/client/wire/frames.py",
    "builderos/client/requests.py",
    "builderos/client/screen.py",
    "builderos/terminal/model/asking.py",
    "builderos/terminal/model/conversation.py",
    "builderos/terminal/model/entries.py",
    "builderos/terminal/model/parts.py",
    "builderos/terminal/model/sessions.py",
    "builderos/terminal/model/timeline.py",
    "builderos/terminal/model/tools.py",
    "builderos/terminal/wire/paint.py",
    "storage/records.py",
    "transport/ios/state.py",
    "transport/ios/wire.py",
    "transport/push/alert_state.py",
    "transport/push/outcomes.py",
    "transport/push/routing_state.py",
    "transport/push/words.py",
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


def forbidden_neighbours(source: str, package: str) -> list[str]:
    """Return each import of `source` that its sub-folder may not make, as `line: name`."""
    kept_out = [name for folder, names in FORBIDDEN.items() if is_below(package, folder) for name in names]
    if package == "builderos.commands":
        kept_out.append("builderos.commands")
    return [
        f"{line}: {name}"
        for line, name in imported_names(source, package)
        if any(is_below(name, wall) for wall in kept_out)
        and not any(is_below(name, shared) for shared in SHARED_BY_COMMANDS)
    ]


def is_below(name: str, folder: str) -> bool:
    """Return whether a dotted name is `folder`, or lies in it."""
    return name == folder or name.startswith(folder + ".")


def loaded_with(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of ours that loading `path` loads at once: imports in functions are left out."""
    found = {name for _, name in imported_names(without_late(path.read_text()), package_of(path))}
    return {module for name in found for module in (name, name.rpartition(".")[0]) if module in known}


def without_late(source: str) -> str:
    """Return a module without the insides of its functions, and without what is there for the types only."""
    tree = ast.parse(source)
    for part in ast.walk(tree):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types(part):
            part.body = [ast.Pass()]
    return ast.unparse(tree)


def is_for_types(node: ast.AST) -> TypeGuard[ast.If]:
    """Return whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def circle_in(arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one circle, in order; empty if there is none."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name not in done:
            for target in sorted(arrows.get(name, ())):
                if circle := walk(target, [*way, name]):
                    return circle
            done.add(name)
        return []

    return next((circle for name in arrows if (circle := walk(name, []))), [])


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


@pytest.mark.parametrize("path", modules(*ALLOWED), ids=name_of)
def test_folders_inside_keep_their_walls(path: Path) -> None:
    assert forbidden_neighbours(path.read_text(), package_of(path)) == []


@pytest.mark.parametrize("path", modules(*(set(ALLOWED) - {"storage"})), ids=name_of)
def test_only_storage_speaks_to_databases(path: Path) -> None:
    found = {name.partition(".")[0] for _, name in imported_names(path.read_text(), package_of(path))}
    assert found & DATABASES == set()


def test_every_wall_names_what_is_there() -> None:
    for folder, names in FORBIDDEN.items():
        for name in (folder, *names, *SHARED_BY_COMMANDS):
            path = ROOT.joinpath(*name.split("."))
            assert path.is_dir() or path.with_suffix(".py").exists(), name


def test_no_module_loads_itself() -> None:
    known = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in modules(*ALLOWED)}
    assert circle_in({name: loaded_with(path, known) for name, path in known.items()}) == []


def test_late_imports_are_left_out() -> None:
    source = (
        "import storage.store\nif TYPE_CHECKING:\n    import storage.errors\n"
        "class A:\n    def late(self):\n        import storage.records\n    import storage.holder\n"
    )
    names = [name for _, name in imported_names(without_late(source), "transport")]
    assert names == ["storage.store", "storage.holder"]


def test_a_planted_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c", "d"}, "c": set(), "d": {"b"}}) == ["b", "d"]


@pytest.mark.parametrize(
    ("package", "source", "count"),
    [
        ("transport.v3", "from transport.http.app import make_app", 1),
        ("transport.v3", "from transport import http", 1),
        ("transport.http.routes", "from transport import ios", 1),
        ("storage.sqlite", "def late():\n    from storage.tables import append", 1),
        ("builderos.commands", "from builderos.commands.backup import run_backup", 1),
        ("builderos.commands", "from builderos.commands.verify import Known", 0),
        ("bridgehub.agents.codex", "from ..claude import driver", 1),
        ("transport.v3", "from transport.websocket.writer import DeviceWriter", 0),
        ("transport", "from transport.http.app import make_app", 0),
    ],
)
def test_a_planted_hole_in_a_wall_is_found(package: str, source: str, count: int) -> None:
    assert len(forbidden_neighbours(source, package)) == count


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
