"""Clocks, ids and randomness are handed in: nothing but the named wiring places calls a source of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_imports import ALLOWED, ROOT, modules

WIRING = {
    "builderos/ids.py": "the one place that makes the server's clock, ids, keys and jitter",
}
"""Files that may call a source: they hand it in to all else."""

SOURCES: dict[str, frozenset[str]] = {
    "time": frozenset({"time", "time_ns", "localtime", "gmtime", "ctime"}),
    "datetime": frozenset({"now", "utcnow", "today"}),
    "uuid": frozenset({"uuid1", "uuid4", "uuid6", "uuid7", "uuid8", "getnode"}),
    "random": frozenset(
        [
            "random",
            "randint",
            "randrange",
            "choice",
            "choices",
            "sample",
            "shuffle",
            "uniform",
            "gauss",
            "getrandbits",
            "randbytes",
            "triangular",
            "betavariate",
            "expovariate",
            "normalvariate",
            "SystemRandom",
        ]
    ),
    "secrets": frozenset(
        {"token_bytes", "token_hex", "token_urlsafe", "choice", "randbelow", "randbits", "SystemRandom"}
    ),
    "os": frozenset({"urandom", "getrandom"}),
}
"""Module: the names in it that are sources. Monotonic clocks are none."""

MAKERS = frozenset({"random.Random"})
"""Classes that are sources where they are called; as the type of what was handed in they are fine."""


def sources_in(source: str) -> list[str]:
    """Return each use of a source in `source`, as `line: name`."""
    tree = ast.parse(source)
    aliases = dict(_aliases(tree))
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        dotted = _dotted(node)
        if dotted is None:
            continue
        head, _, rest = dotted.partition(".")
        whole = ".".join(part for part in (aliases.get(head, ""), rest) if part)
        if head in aliases and (_is_source(whole) or (whole in MAKERS and id(node) in called)):
            found.append(f"{getattr(node, 'lineno', 0)}: {whole}")
    return sorted(set(found))


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each imported local name with the dotted name that it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    (alias.asname, alias.name)
                    if alias.asname
                    else (alias.name.partition(".")[0], alias.name.partition(".")[0])
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.AST) -> str | None:
    """Return `a.b.c` for such a chain of names, None for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return f"{base}.{node.attr}" if base else None
    return None


def _is_source(dotted: str) -> bool:
    module, _, rest = dotted.partition(".")
    return rest.rpartition(".")[2] in SOURCES.get(module, ())


@pytest.mark.parametrize(
    "name", [name for path in modules(*ALLOWED) if (name := str(path.relative_to(ROOT))) not in WIRING]
)
def test_nothing_calls_a_source_that_was_not_handed_in(name: str) -> None:
    assert sources_in((ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\nnow = time.time()",
        "import time as t\nnow = t.time_ns()",
        "from time import time\nnow = time()",
        "import datetime\nnow = datetime.datetime.now()",
        "from datetime import datetime, UTC\nnow = datetime.now(UTC)",
        "import uuid\nname = uuid.uuid4().hex",
        "from uuid import uuid4\nname = uuid4()",
        "import random\nwait = random.random()",
        "import random\nchance = random.Random()",
        "from random import Random\nchance = Random()",
        "import secrets\nkey = secrets.token_hex(32)",
        "from os import urandom\nkey = urandom(8)",
        "import os\nkey = os.urandom(8)",
        "def late():\n    import os\n    return os.urandom\n",
        "import attrs, uuid\nfield = attrs.field(factory=uuid.uuid4)",
    ],
)
def test_a_planted_source_is_found(source: str) -> None:
    assert len(sources_in(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import time\nstart = time.monotonic()",
        "import secrets\nsame = secrets.compare_digest('a', 'b')",
        "from datetime import datetime, UTC\nat = datetime.fromtimestamp(0, UTC)",
        "import os\nhere = os.getpid()",
        "import trio\nnow = trio.current_time()",
        "import random\ndef late(chance: random.Random) -> None: ...",
        "import uuid\nsame = uuid.uuid5(uuid.NAMESPACE_URL, 'x')",
    ],
)
def test_what_is_no_source_is_left_alone(source: str) -> None:
    assert sources_in(source) == []
