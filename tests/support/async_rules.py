"""Run flake8-async on files, with less work for the same answer: `python -m tests.support.async_rules FILE…`.

For each of its visitors the package computes every node's place again, since a visitor may change the code. Without
`--autofix` none does. So the places are computed once, and the visitors that only read share one pass.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import flake8_async
import libcst
from flake8_async.runner import Flake8AsyncRunner_cst

__all__ = ["RULES", "ReadOnlyRunner", "check"]

RULES = (
    *("ASYNC101", "ASYNC102", "ASYNC104", "ASYNC113", "ASYNC119", "ASYNC120", "ASYNC121", "ASYNC126"),
    *("ASYNC128", "ASYNC400", "ASYNC900", "ASYNC912", "ASYNC913"),
)
"""The rules that ruff does not know."""


class Readers(libcst.CSTVisitor):
    """Goes through a tree once for several visitors that only read."""

    def __init__(self, readers: Sequence[libcst.CSTTransformer]) -> None:
        super().__init__()
        self._readers = readers

    def on_visit(self, node: libcst.CSTNode) -> bool:
        for reader in self._readers:
            reader.on_visit(node)
        return True

    def on_leave(self, original_node: libcst.CSTNode) -> None:
        for reader in self._readers:
            reader.on_leave(original_node, original_node)

    def on_visit_attribute(self, node: libcst.CSTNode, attribute: str) -> None:
        """Skip what would look for a method of each attribute; no reader has one."""

    def on_leave_attribute(self, original_node: libcst.CSTNode, attribute: str) -> None:
        """Skip it here too."""


class ReadOnlyRunner(Flake8AsyncRunner_cst):  # type: ignore[misc]  # the package is not typed
    """The package's runner for a tree that no visitor changes."""

    def run(self) -> Iterator[Any]:
        """Yield what is wrong in the file."""
        tree = libcst.MetadataWrapper(self.module, unsafe_skip_copy=True)  # as the package does
        with ExitStack() as places:
            for reader in self.utility_visitors:
                places.enter_context(reader.resolve(tree))
            tree.module.visit(Readers(self.utility_visitors))
        for visitor in self.visitors:
            tree.visit(visitor)
        self.noqas = self.state.noqas
        yield from self.state.problems


def check(files: Sequence[str]) -> int:
    """Print what is wrong in files; return 1 if something is."""
    flake8_async.Flake8AsyncRunner_cst = ReadOnlyRunner
    sys.argv = ["flake8-async", "--enable", ",".join(RULES), *files]
    return int(flake8_async.main())


if __name__ == "__main__":
    gc.disable()  # trees have no cycles: it would search millions of nodes for nothing
    sys.exit(check(sys.argv[1:]))
