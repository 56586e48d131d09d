"""An agent of the ACP in a folder that brings something along: what is asked, and which servers it gets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bridgehub.delegation.stdio_server import SERVER
from bridgehub.protocol.events import TurnDone, TurnFailed
from bridgehub.protocol.hub_spec import DelegateSpec
from tests.standin.acp_rig import AGENT, AcpRig, AcpSink, deciding, open_acp_rig

SERVERS = {
    "files": {"command": "sh", "args": ["-c", "${WHAT:-nothing}"], "env": {"HOME_OF": "${HOME_OF}"}},
    "web": {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"X-Key": "${NO_SUCH}"}},
    "old": {"type": "sse", "url": "http://127.0.0.1:9/sse"},
    "wrong": {"command": 3},
}


def bring_servers(rig: AcpRig) -> None:
    """Have the folder bring MCP servers along."""
    (rig.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": SERVERS}))


async def test_a_folders_servers_are_handed_over_after_trust(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        bring_servers(rig)
        rig.env["HOME_OF"] = "mine"
        driver = rig.driver(
            delegates={"echo": DelegateSpec("echo", {}, {})}, trust_store=str(tmp_path / "trust")
        )
        _, sink = await rig.turn(driver, "hello", deciding("allow"))
        (asked,) = sink.asked
        assert (asked.tool, sink.trust_options) == ("trust", ("allow", "deny"))
        assert [run["name"] for run in asked.tool_input["runs"]] == list(SERVERS)
        ours, files, web = rig.had()["servers"]
        assert (ours["name"], ours["command"]) == (SERVER, sys.executable)
        assert files["args"] == ["-c", "nothing"]
        assert files["command"].endswith("/sh")
        assert files["env"] == [{"name": "HOME_OF", "value": "mine"}]
        headers = [{"name": "X-Key", "value": ""}]
        assert web == {"type": "http", "name": "web", "url": "http://127.0.0.1:9/mcp", "headers": headers}
        _, again = await rig.turn(driver, "hello", AcpSink())
        assert again.asked == []


async def test_a_no_keeps_the_folders_servers_out(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        bring_servers(rig)
        end, _ = await rig.turn(rig.driver(), "hello", deciding("deny"))
        assert isinstance(end, TurnDone)
        assert rig.had()["servers"] == []


async def test_changed_trusted_files_ask_again_and_restart(tmp_path: Path) -> None:
    async with open_acp_rig(tmp_path) as rig:
        driver = rig.driver(trust_store=str(tmp_path / "trust"))
        await rig.turn(driver, "one")
        bring_servers(rig)
        _, sink = await rig.turn(driver, "two", deciding("allow"))
        assert len(sink.asked) == 1
        assert sink.text() == "you said two (2)"
        assert [one["name"] for one in rig.had()["servers"]] == ["files", "web"]


@pytest.mark.parametrize("name", ["opencode.json", ".opencode/plugin/evil.js", ".gemini/settings.json"])
async def test_settings_that_the_agent_reads_need_a_yes(tmp_path: Path, name: str) -> None:
    async with open_acp_rig(tmp_path) as rig:
        path = rig.workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        driver = rig.driver()
        end, sink = await rig.turn(driver, "hello", deciding("deny"))
        assert sink.trust_options == ("allow",)
        assert isinstance(end, TurnFailed)
        assert "nobody trusted the folder" in end.content
        assert not (rig.home / "prompt.json").exists()
        end, _ = await rig.turn(driver, "hello", deciding("allow"))
        assert isinstance(end, TurnDone)


@pytest.mark.parametrize(
    ("program", "asks"), [("opencode", False), ("gemini", True), ("claude-agent-acp", False)]
)
async def test_only_what_that_agent_reads_is_asked_about(tmp_path: Path, program: str, asks: bool) -> None:
    async with open_acp_rig(tmp_path) as rig:
        (rig.workspace / ".gemini").mkdir()
        (rig.workspace / ".gemini" / "settings.json").write_text("{}")
        (rig.workspace / "AGENTS.md").write_text("# Be kind")
        command = start_as(rig, program)
        _, sink = await rig.turn(rig.driver(options={"command": command}), "hello", deciding("allow"))
        assert bool(sink.asked) is asks


def start_as(rig: AcpRig, program: str) -> list[str]:
    """Return the command of the stand-in under another name."""
    path = rig.home / program
    path.symlink_to(sys.executable)
    return [str(path), str(AGENT), str(rig.home)]
