"""The table of limits in docs/user/security.md says what the code says, and each limit has a test that is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import attrs
import pytest

from builderos.config import Config
from transport.config import TransportConfig

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "user" / "security.md").read_text(encoding="utf-8")


@attrs.frozen
class Limit:
    name: str
    number: int
    where: str
    test: str


def limits() -> list[Limit]:
    table = PAGE.partition("\n## Limits\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return [Limit(row[0], int(row[1].replace(",", "")), row[2], row[4].strip("` ")) for row in rows[1:]]


def value_of(where: str) -> object:
    kind, name = re.fullmatch(r"(config |transport |)`([A-Za-z_.0-9]+)`", where).groups()  # type: ignore[union-attr]
    if kind == "config ":
        return getattr(Config(), name)
    if kind == "transport ":
        return getattr(TransportConfig(), name)
    module, _, constant = name.rpartition(".")
    return getattr(importlib.import_module(module), constant)


def test_there_is_a_table() -> None:
    assert len(limits()) >= 30


@pytest.mark.parametrize("limit", limits(), ids=lambda limit: limit.where.strip("`"))
def test_a_limit_is_what_the_page_says(limit: Limit) -> None:
    assert value_of(limit.where) == limit.number
    path, _, name = limit.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in found


def test_what_the_config_may_say_is_what_the_transport_takes() -> None:
    shared = {"max_connections", "max_sessions", "max_uploads_bytes", "trusted_proxies", "heartbeat_s"}
    for name in shared:
        assert getattr(Config(), name) == getattr(TransportConfig(), name), name
