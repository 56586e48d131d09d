"""The real Gemini CLI and Qwen Code, from `make test-agents`: a turn with a tool and a question; a mode; context."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest

from bridgehub.protocol.events import AgentOffered, Noticed, SettingsTold, ToolEnded, TurnDone
from bridgehub.protocol.hub_spec import Setup
from bridgehub.protocol.messages import History, PastMessage
from bridgehub.protocol.process_tree import MARKER
from tests.e2e.shared_server import hubs_of, wait_processes_gone
from tests.real_agents.rig import open_gemini, open_qwen
from tests.real_agents.services import Service
from tests.standin.acp_rig import AcpRig, AcpSink, deciding
from tests.standin.replies import ToolUse
from tests.support.server import open_server

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
        past = AcpSink(past=History("", (PastMessage("user", "MARKER-ONE MARKER-TWO"),)))
        end, again = await rig.turn(later, "MARKER-THREE", past)
        assert isinstance(end, TurnDone), end
        # Gemini CLI would lose a conversation of this minute (`KnownAgent.loses_young`).
        assert {notice.code for notice in again.of(Noticed)} <= (
            {"context_given_again"} if open_agent is open_gemini else set()
        )
        assert all(f"MARKER-{word}" in again.text() for word in ("ONE", "TWO", "THREE"))
        assert again.text().count("markers:") == 1


def rig_memory(driver: object) -> dict[str, object]:
    """Return what the driver's hub remembers."""
    return dict(getattr(driver, "_memory"))  # noqa: B009


@pytest.mark.parametrize("open_agent", [open_gemini, open_qwen])
async def test_nothing_of_the_agent_outlives_its_hub(tmp_path: Path, open_agent: Open) -> None:
    async with open_agent(tmp_path) as (rig, service):
        env = "".join(f"{name} = {json.dumps(value)}\n" for name, value in rig.env.items())
        table = f'[agents.real]\nkind = "acp"\nstart_s = 110\ncommand = {json.dumps(rig.command)}\n'
        place, arguments = tmp_path / "server", ("--workspace", str(rig.workspace))
        place.mkdir()
        async with (
            open_server(place, config=f"{table}[agents.real.env]\n{env}", arguments=arguments) as server,
            server.device() as one,
        ):
            await one.attach("day", agent="real")
            await one.send("day", "MARKER-ONE")
            await one.wait_for("complete", limit_s=rig.limit_s)
            offer = await one.wait_for(
                lambda told: told["type"] == "agent" and told["agent"]["modes"], start=0
            )
            (mode,) = (one["id"] for one in offer["agent"]["modes"] if one["kind"] == "ask")
            await one.say("configure", session_id="day", settings={"permission_mode": mode})
            path = rig.workspace / "a.txt"
            service.calls.append(ToolUse("write_file", {"file_path": str(path), "content": "hello\n"}))
            await one.send("day", "write it")
            await one.wait_for("permission_requested", limit_s=rig.limit_s)
            hub = hubs_of(server.data)["day"]
            below = hub.children(recursive=True)
            marks = {marked(process) for process in below}
            hub.kill()
            assert (await one.wait_for("error", limit_s=rig.limit_s))["code"] == "agent_exited"
            await wait_processes_gone([hub, *below])
            await one.send("day", "MARKER-TWO")
            end = await one.wait_for("complete", limit_s=rig.limit_s)
            assert "MARKER-ONE" in one.text("day", end["turn_id"])
            assert len(marks) == 1
            assert [one for one in psutil.process_iter() if marked(one) in marks] == [], "it came later"


def marked(process: psutil.Process) -> str | None:
    """Return the hub that a process belongs to. None if it cannot be read."""
    try:
        found: str | None = process.environ().get(MARKER)
        return found
    except psutil.Error:
        return None
