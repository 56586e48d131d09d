"""The part `terminal`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from bench.errors import NotInstalled
from bench.plan import Plan
from bench.report import Row
from bench.terminal.history import measure_history
from bench.terminal.words import measure_words

__all__ = ["measure_terminal"]


async def measure_terminal(plan: Plan, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Return the rows of the terminal client.

    Raises:
        NotInstalled: Textual is not.
        BenchError: a client or the server broke.
    """
    if find_spec("textual") is None:
        raise NotInstalled("the terminal client needs Textual, which is not installed")
    return [*await measure_words(plan, folder, say), *await measure_history(plan, folder, say)]
