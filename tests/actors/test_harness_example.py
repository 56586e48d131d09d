"""The example of `docs/internals/testing.md`, "The harness", runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "testing.md"


@pytest.mark.parametrize("name", ["survive_a_crash", "run_one_actor"])
async def test_the_example_runs(autojump_clock: MockClock, name: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (source,) = [block for block in blocks if f"def {name}(" in block]
    defined: dict[str, Any] = {}
    exec(compile(source, str(PAGE), "exec"), defined)
    await defined[name]()
