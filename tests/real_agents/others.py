"""The real Gemini CLI and Qwen Code, from `make test-agents`: a turn with a tool and a question; a mode; context."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bridgehub.protocol.events import AgentOffered, Noticed, SettingsTold, ToolEnded, TurnDone
from bridgehub.protocol.hub_spec import Setup
from tests.real_agents.rig import open_gemini, open_qwen
from tests.real_agents.services import Service
from tests.standin.acp_rig import AcpRig, deciding
from tests.standin.replies import ToolUse

Open = Callable[[Path], AbstractAsyncContextManager[tuple[AcpRig, Service]]]


@pytest.mark.parametrize("open_agent", [open_gemini, open_qwen])
async def test_a_turn_with_a_tool_and_context_in_a_later_process(tmp_path: Path, open_agent: Open) -> None:
    async with open_agent(tmp_path) as (rig, service):
        driver = rig.driver()
        _, sink = await rig.turn(driver, "MARKER-ONE")
        assert "MARKER-ONE" in sink.text()
        offered = sink.newest[AgentOffered]
        assert isinstance(offered, AgentOffered)
        modes = {one["kind"]: one["id"] for one in offered.offer["modes"]}
        assert {"ask", "plan", "bypass"} <= set(modes)

        path = rig.workspace / "a.txt"
        service.calls.append(ToolUse("write_file", {"file_path": str(path), "content": "hello\n"}))
        setup = Setup(permission_mode=modes["ask"])
        end, sink = await rig.turn(driver, "MARKER-TWO write it", deciding("allow"), setup=setup)
        assert isinstance(end, TurnDone), end
        (asked,) = sink.asked
        assert asked.words is not None
        assert (asked.words.kind, "allow" in (asked.words.options or ())) == ("edit", True)
        assert asked.words.diff[0]["patch"].rstrip().endswith("+hello")
        assert [ended.is_error for ended in sink.of(ToolEnded)] == [False]
        assert path.read_text() == "hello\n"
        assert sink.of(SettingsTold) == []
        await driver.aclose()

        later = rig.driver(agent_memory={**rig_memory(driver)})
        end, again = await rig.turn(later, "MARKER-THREE")
        assert isinstance(end, TurnDone)
        assert again.of(Noticed) == []
        assert all(f"MARKER-{word}" in again.text() for word in ("ONE", "TWO", "THREE"))
        assert again.text().count("markers:") == 1


def rig_memory(driver: object) -> dict[str, object]:
    """Return what the driver's hub remembers."""
    return dict(getattr(driver, "_memory"))  # noqa: B009
