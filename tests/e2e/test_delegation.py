"""Delegation and relays through a whole server, with the real Claude Code."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bridgehub.delegation.mcp import CLAUDE_TOOL
from tests.e2e.shared_server import open_http
from tests.standin.anthropic import StandIn, open_standin, standin_env
from tests.standin.replies import Answer, ToolUse
from tests.support.server import ROOT, Server, open_server

RELAY = ROOT / "tests" / "bridgehub" / "relay_program.py"


def delegate(agent: str, task: str) -> Answer:
    return Answer.of(ToolUse(CLAUDE_TOOL, {"agent": agent, "task": task}))


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[tuple[Server, StandIn]]:
    """A server whose Claude talks to a stand-in, and which knows a relay."""
    async with open_standin() as standin:
        env = standin_env(standin.url, str(folder / "home"))
        table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in env.items())
        command = json.dumps([sys.executable, "-I", str(RELAY)])
        config = (
            f"[agents.claude.env]\n{table}\n"
            f'[agents.my-relay]\nkind = "bridgehub/1.0"\ndirection = "codex_to_claude"\ncommand = {command}\n'
        )
        async with open_server(folder, config=config) as server:
            yield server, standin


async def tasks_of(server: Server, sid: str) -> list[dict[str, Any]]:
    async with open_http(server) as http:
        answer = await http.get(f"/api/sessions/{sid}/tasks")
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.json()["tasks"]
        return found


async def test_work_is_handed_on_and_its_question_outlives_the_server(place: Path, sid: str) -> None:
    async with open_place(place) as (server, standin):
        async with server.device() as device:
            await device.attach(sid, agent="claude")
            standin.script(
                delegate("my-relay", "hello relay"), delegate("echo", "/ask may I"), Answer.of("done")
            )
            await device.send(sid, "hand it on")
            asked = await device.wait_for("permission_requested")
            assert asked["tool"] == "practice"
            first, second = await tasks_of(server, sid)
            assert (first["agent_type"], first["state"]) == ("my-relay", "succeeded")
            assert first["result"] == "relay: hello relay"
            assert (second["agent_type"], second["state"], second["finished_at"]) == ("echo", "running", None)
        await server.kill9()
        await server.restart()
        async with server.device() as device:
            attached = await device.attach(sid)
            assert [one["request_id"] for one in attached["pending"]] == [asked["request_id"]]
            await device.say("decide", session_id=sid, request_id=asked["request_id"], decision="allow")
            end = await device.wait_for("complete")
            assert device.text(sid, end["turn_id"]) == "done"
            (finished,) = [e for e in device.events(sid, "task_finished") if e["agent_type"] == "echo"]
            assert (finished["state"], finished["result"]) == ("succeeded", "allowed")
        assert [task["state"] for task in await tasks_of(server, sid)] == ["succeeded", "succeeded"]
        assert "allowed" in standin.requests[-1].tool_results[-1]


async def test_a_session_with_a_relay(place: Path, sid: str) -> None:
    async with open_place(place) as (server, _), server.device() as device:
        await device.attach(sid, agent="my-relay")
        end = await device.ask(sid, "hello")
        assert device.text(sid, end["turn_id"]) == "relay: hello"
        end = await device.ask(sid, "exit 3")
        assert (end["type"], end["code"]) == ("error", "agent_exited")
        assert device.text(sid, end["turn_id"]) == ""
        await device.send(sid, "hang")
        await device.wait_for("delivery", state="consumed")
        with trio.fail_after(20):
            await device.say("interrupt", session_id=sid)
            await device.wait_for("interrupted")
        end = await device.ask(sid, "request")
        request = json.loads(device.text(sid, end["turn_id"]))
        assert request["session"] == sid
        assert request["payload"]["message"] == "request"
        history = json.loads(request["payload"]["context"][0]["content"])
        assert history[:2] == [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "relay: hello"},
        ]
        assert "request" not in [said["content"] for said in history]
