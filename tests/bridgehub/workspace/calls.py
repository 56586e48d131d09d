"""Which calls of git a checkpoint makes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

import bridgehub.workspace.git

COMMANDS = frozenset({"ls-files", "update-index", "write-tree", "commit-tree", "update-ref", "read-tree"})


@contextmanager
def counting() -> Iterator[list[str]]:
    """Give the commands of all calls of git in the block."""
    calls: list[str] = []
    start = bridgehub.workspace.git._start

    def counted(arguments: Sequence[str], *more: Any, **options: Any) -> subprocess.Popen[bytes]:
        calls.append(next((name for name in arguments if name in COMMANDS), "another"))
        return start(arguments, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridgehub.workspace.git, "_start", counted)
        yield calls
