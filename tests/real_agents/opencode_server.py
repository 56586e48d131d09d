"""The real opencode behind a whole server: two devices, and deaths of the server and of the hub in the middle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from builderos.cli import main
from tests.e2e.agents import begin
from tests.e2e.world import hubs_of, kinds_of_turn, open_http, wait_processes_gone
from tests.real_agents.rig import OPENCODE, env_of, opencode_home
from tests.standin.anthropic import open_standin
from tests.standin.replies import Answer, ToolUse
from tests.support.server import open_server

START_S = 120.0
"""opencode is there in 2 s; on a busy machine in many more."""


def config_of(home: Path, url: str) -> str:
    """Return a config whose agent `opencode` talks to the stand-in at `url`."""
    env = "".join(f"{name} = {json.dumps(value)}\n" for name, value in opencode_home(home, url).items())
    table = f'[agents.opencode]\nkind = "acp"\ncommand = [{json.dumps(str(OPENCODE))}, "acp"]\n'
    return f"{table}[agents.opencode.env]\n{env}"


async def test_a_turn_outlives_the_server_and_its_context_the_hub(tmp_path: Path) -> None:
    home, workspace = tmp_path / "agent", tmp_path / "workspace"
    workspace.mkdir()
    async with open_standin() as standin:
        config = config_of(home, standin.url)
        arguments = ("--workspace", str(workspace))
        async with open_server(tmp_path, config=config, arguments=arguments) as server:
            write = ToolUse("write", {"filePath": str(workspace / "a.txt"), "content": "hello\n"})
            standin.script(Answer.of(write), Answer.of("it is written"))
            async with server.device() as one:
                await one.attach("day", agent="opencode")
                await one.send("day", "MARKER-ONE write it")
                asked = await one.wait_for("permission_requested", limit_s=START_S)
            await server.kill9()
            await server.restart()
            async with server.device() as one, server.device() as two:
                await one.attach("day")
                await two.attach("day")
                await two.say("decide", session_id="day", request_id=asked["request_id"], decision="allow")
                end = await one.wait_for("complete", start=0, turn_id=asked["turn_id"], limit_s=START_S)
                assert one.text("day", end["turn_id"]) == "it is written"
                assert kinds_of_turn(two.events("day"), end["turn_id"])[-1] in ("complete", "d:answered")
                hub = hubs_of(server.data)["day"]
                below = hub.children(recursive=True)
                hub.kill()
                await wait_processes_gone([hub, *below])
                await two.send("day", "MARKER-TWO")
                await one.wait_for("complete", limit_s=START_S)
                assert "MARKER-ONE" in standin.requests[-1].markers


async def test_a_session_of_its_own_terminal_is_opened_and_gone_on_with(tmp_path: Path) -> None:
    home, workspace = tmp_path / "agent", tmp_path / "workspace"
    workspace.mkdir()
    async with open_standin() as standin:
        config = config_of(home, standin.url)
        arguments = ("--workspace", str(workspace))
        async with open_server(tmp_path, config=config, arguments=arguments) as server:
            standin.script(Answer.of("MARKER-ANSWER"))
            with trio.fail_after(START_S):
                await run_at_the_desk(home, workspace, "MARKER-DESK")
            async with open_http(server) as http, server.device() as one, server.device() as two:
                asked = {"agent": "opencode"}
                page = await http.get("/api/desk/sessions", params=asked, timeout=START_S)
                (listed,) = page.json()["sessions"]
                assert (listed["agent"], listed["workspace"]) == ("opencode", str(workspace))
                path = f"/api/desk/sessions/opencode/{listed['native_id']}/open"
                sid = (await http.post(path, timeout=START_S)).json()["session_id"]
                said = (await http.get(f"/api/sessions/{sid}/messages")).json()["messages"]
                assert [one["content"].strip('"') for one in said] == ["MARKER-DESK", "MARKER-ANSWER"]
                for device in (one, two):
                    await device.attach(sid)
                sent = await begin(one, sid, "MARKER-PHONE")
                await two.wait_for("complete", start=0, turn_id=sent["turn_id"], limit_s=START_S)
                assert {"MARKER-DESK", "MARKER-PHONE"} <= set(standin.requests[-1].markers)
                (listed,) = (await http.get("/api/desk/sessions", params=asked, timeout=START_S)).json()[
                    "sessions"
                ]
                assert listed["session_id"] == sid


async def run_at_the_desk(home: Path, workspace: Path, words: str) -> None:
    """Run opencode's own program as a person would, with one message."""
    env = {**env_of(home), "OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    await trio.run_process([str(OPENCODE), "run", words], env=env, cwd=workspace, capture_stdout=True)


def test_the_check_tells_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(config_of(tmp_path / "agent", "http://127.0.0.1:9"))
    assert main(["agents", "check", "opencode", "--config", str(path)]) == 0
    told = capsys.readouterr().out
    assert "1.18.33" in told
    assert "modes: build, plan" in told
