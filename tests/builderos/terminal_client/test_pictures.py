"""The pictures in docs/user/terminal.md are what the client draws. `make pictures` is this file with PICTURES=1."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from tests.builderos.terminal_client.stage import Stage, on_stage
from tests.support.server import ROOT

PICTURES: Final = ROOT / "docs" / "user" / "pictures"

ANSWER: Final = """The parser drops the **last line** if the file does not end with a new line.

```python
def lines(text: str) -> list[str]:
    return text.split("\\n")
```

- `split` keeps what stands after the last new line
- two tests cover it now
"""

PATCH: Final = """@@ -3,3 +3,3 @@
 def lines(text: str) -> list[str]:
-    return text.split("\\n")[:-1]
+    return text.split("\\n")
"""


async def conversation(stage: Stage) -> None:
    """Let a turn come as an agent's are."""
    stage.attached(title="Fix the parser", agent_type="claude")
    mode = {"id": "default", "kind": "ask", "name": "Ask"}
    stage.frame("agent", agent={"modes": [mode], "models": [{"id": "m", "name": "Sonnet", "default": True}]})
    stage.frame("gauge", context={"used": 31_000, "window": 200_000}, cost_usd=0.41)
    stage.turn("Why does the parser lose the last line?", turn_id="t1", device_id="phone", end="")
    stage.event(
        "tool_started",
        tool_id="a",
        name="Grep",
        input={"pattern": "split", "path": "/code/trip"},
        turn_id="t1",
    )
    stage.event("tool_finished", tool_id="a", output="1\n2\n3", is_error=False, duration_ms=140, turn_id="t1")
    stage.event(
        "tool_started", tool_id="b", name="Edit", input={"file_path": "/code/trip/parser.py"}, turn_id="t1"
    )
    diff = [{"path": "parser.py", "status": "modified", "added": 1, "removed": 1, "patch": PATCH}]
    stage.event(
        "tool_finished", tool_id="b", output="ok", is_error=False, duration_ms=12, diff=diff, turn_id="t1"
    )
    stage.event("message", block="x", offset=0, content=ANSWER, turn_id="t1")
    stage.event("complete", turn_id="t1")


async def question(stage: Stage) -> None:
    """Let the next turn ask."""
    await conversation(stage)
    stage.turn("Run the tests", turn_id="t2", device_id="terminal", end="")
    stage.event(
        "permission_requested",
        request_id="r",
        tool="Bash",
        input={"command": "make test"},
        kind="command",
        title="Run the tests",
        options=[],
        grant="commands that begin with: make test",
        editable=["command"],
        turn_id="t2",
    )


@pytest.mark.parametrize(
    ("name", "scene"), [("terminal-session", conversation), ("terminal-question", question)]
)
def test_picture(tmp_path: Path, name: str, scene: Callable[[Stage], Awaitable[None]]) -> None:
    made: list[str] = []

    async def act(stage: Stage) -> None:
        await scene(stage)
        await stage.settle()
        made.append(stage.app.export_screenshot(title="builderos attach trip"))

    on_stage(tmp_path, act, size=(90, 32))
    # It would fetch fonts from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}", "", made[0], flags=re.DOTALL)
    path = PICTURES / f"{name}.svg"
    if os.environ.get("PICTURES"):
        path.write_text(picture)
    assert words(path.read_text()) == words(picture), "make pictures draws them again"
    assert "url(http" not in path.read_text()


def words(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)
