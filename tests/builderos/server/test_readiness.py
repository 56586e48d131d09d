"""What devices see of agents that cannot answer yet, and sessions as files over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from builderos.config import BridgeHubAgent, ClaudeAgent, Config, EchoAgent
from builderos.server.parts import ReadinessProbe
from tests.builderos.terminal import run_command
from tests.support.server import Server, open_server

SETUP = """
[agents.relay]
kind = "bridgehub/1.0"
command = ["/nowhere/relay"]
direction = "codex_to_claude"
"""


def test_what_is_missing_and_what_fixes_it(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    config = Config(
        agents={
            "claude": ClaudeAgent(cli_path=str(program)),
            "signed-in": ClaudeAgent(cli_path=str(program), env={"ANTHROPIC_API_KEY": "k"}),
            "gone": ClaudeAgent(cli_path=str(tmp_path / "nothing")),
            "practice": EchoAgent(),
            "relay": BridgeHubAgent(command=("/nowhere/relay",), direction="codex_to_claude"),
        }
    )
    look = ReadinessProbe(config, {"PATH": ""}, tmp_path, tmp_path)
    found = {agent.name: agent for agent in look().agents}
    assert (found["practice"].kind, found["practice"].problem) == ("echo", "")
    assert found["signed-in"].problem == ""
    assert "not signed in" in found["claude"].problem
    assert found["claude"].fix == f"run {program} and type /login"
    assert "does not exist" in found["gone"].problem
    assert found["relay"].fix
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    assert {agent.name: agent for agent in look().agents}["claude"].problem == "", "each call looks anew"


def test_a_workspace_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ReadinessProbe(Config(), {}, tmp_path, tmp_path)().workspace_ok
    assert not ReadinessProbe(Config(), {}, tmp_path, tmp_path / "file")().workspace_ok
    assert not ReadinessProbe(Config(), {}, tmp_path, tmp_path / "nowhere")().workspace_ok


async def status(server: Server, key: str) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": key}) as http:
        return dict((await http.get("/api/status")).json())


async def test_the_status_tells_it(tmp_path: Path) -> None:
    async with open_server(tmp_path, config=SETUP) as server:
        told = await status(server, server.key)
        assert told["workspace"] == {"path": str(tmp_path / "home"), "ok": True}
        agents = told["agents"]
        assert isinstance(agents, list)
        by_name = {agent["name"]: agent for agent in agents}
        assert list(by_name) == ["claude", "codex", "echo", "relay"]
        assert by_name["echo"] == {
            "name": "echo",
            "kind": "echo",
            "ready": True,
            "problem": None,
            "fix": None,
            "mend": None,
        }
        relay = by_name["relay"]
        assert (relay["kind"], relay["ready"]) == ("bridgehub/1.0", False)
        assert "/nowhere/relay" in relay["problem"]
        assert relay["fix"] == relay["mend"] != ""
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": server.key}) as http:
            made = (await http.post("/api/devices", json={"name": "guest", "scope": "view"})).json()
        guest = await status(server, made["key"])
        assert guest["workspace"] == {"path": None, "ok": True}
        assert "/" not in json.dumps(guest["agents"]).replace("bridgehub/1.0", "")
        agents = guest["agents"]
        assert isinstance(agents, list)
        assert [agent["ready"] for agent in agents] == [agent["ready"] for agent in by_name.values()]


async def test_a_session_as_a_file(tmp_path: Path) -> None:
    async with open_server(tmp_path) as server, server.device() as device:
        await device.attach("trip", agent="echo", device_id="pad")
        for text in ("hello there", "/task look around", "/big 300000", "/words 300"):
            await device.ask("trip", text)
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": server.key}) as http:
            url = "/api/sessions/trip/export"
            for form, media_type in (("md", "text/markdown; charset=utf-8"), ("json", "application/json")):
                answer = await http.get(url, params={"format": form})
                assert answer.status_code == 200
                assert answer.headers["content-type"] == media_type
                assert answer.headers["content-disposition"] == f'attachment; filename="trip.{form}"'
                told = await run_command(server, "export", "trip", "--format", form)
                assert told == (0, answer.text, "")
                head = await http.head(url, params={"format": form})
                assert (head.status_code, head.content) == (200, b"")
            assert (await http.get(url)).text.startswith("# trip\n")
            assert (await http.get(url, params={"format": "pdf"})).status_code == 400
            for name in ("nowhere", "a%20b"):
                assert (await http.get(f"/api/sessions/{name}/export")).status_code == 404
            assert (await http.get(url, headers={"X-API-Key": "no"})).status_code == 401
