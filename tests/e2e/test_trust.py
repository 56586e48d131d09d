"""Section 8, "Trust": a stranger's repository behind a real server, with both real programs."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
import trio

from tests.app.line import chat, open_line
from tests.e2e.agents import START_S, Agents, begin, end_of, open_agents
from tests.e2e.shared_server import all_events, hubs_of, kinds_of_turn, open_http, wait_processes_gone
from tests.standin.anthropic import open_standin
from tests.standin.replies import Answer, ToolUse
from tests.support.device import Device, Json, open_device
from tests.support.hostile import Hostile, make_hostile

HANDED = ["user_message", "turn_started", "d:handed"]
DONE = ["d:consumed", "message", "d:answered", "complete"]
RAN = {"claude": "claude-SessionStart", "codex": "codex-server"}


@attrs.define(eq=False)
class Place:
    """A server whose workspace is hostile. `called`: what its service was asked for."""

    agents: Agents
    hostile: Hostile
    called: list[str]

    @property
    def is_untouched(self) -> bool:
        """Whether nothing ran and nobody was called."""
        return not self.hostile.ran and not self.called


@asynccontextmanager
async def open_place(folder: Path, config: str = "") -> AsyncIterator[Place]:
    async with open_standin() as evil, open_agents(folder, config=config) as agents:
        yield Place(agents, make_hostile(agents.workspace, folder / "sprung", evil.url), evil.other_calls)


async def asked_in(device: Device, turn: Json, start: int = 0) -> Json:
    """Wait for the turn's request of kind `trust`."""
    return await device.wait_for(
        "permission_requested", kind="trust", turn_id=turn["turn_id"], start=start, limit_s=START_S
    )


async def decide(device: Device, sid: str, request: Json, decision: str) -> None:
    await device.say("decide", session_id=sid, request_id=request["request_id"], decision=decision)


async def answered(device: Device, sid: str, turn: Json) -> list[str]:
    end = await end_of(device, turn["turn_id"])
    assert end["type"] == "complete", end
    return kinds_of_turn(device.events(sid), turn["turn_id"])


async def new_key(place: Place, scope: str) -> str:
    async with open_http(place.agents.server) as http:
        made = await http.post("/api/devices", json={"name": scope, "scope": scope})
        return str(made.json()["key"])


@pytest.mark.parametrize("agent", ["claude", "codex"])
async def test_a_hub_killed_while_a_question_waits(tmp_path: Path, agent: str) -> None:
    async with open_place(tmp_path) as it:
        server = it.agents.server
        approver = await new_key(it, "approve")
        async with server.device() as device, open_device(server.url, approver) as other:
            await device.attach("trip", agent=agent)
            turn = await begin(device, "trip", "hello")
            first = await asked_in(device, turn)
            assert first["options"] == ["allow", "deny"]
            assert first["title"].startswith(f"Trust the folder {it.agents.workspace}?")
            assert first["input"]["folder"] == str(it.agents.workspace)
            assert kinds_of_turn(device.events("trip"), turn["turn_id"]) == [*HANDED, "permission_requested"]

            hubs_of(server.data)["trip"].kill()
            gone = await device.wait_for("permission_resolved", request_id=first["request_id"])
            assert (gone["decision"], gone["by_device"]) == ("cancelled", None)
            second = await device.wait_for(
                lambda frame: (
                    frame["type"] == "permission_requested" and frame["request_id"] != first["request_id"]
                ),
                limit_s=START_S,
            )
            assert second["input"] == first["input"]
            assert it.is_untouched
            assert not it.agents.standin(agent).requests

            assert (await other.attach("trip"))["pending"][0]["kind"] == "trust"
            await decide(other, "trip", second, "allow")
            assert (await other.wait_for("rejected"))["code"] == "forbidden"
            assert it.is_untouched
            await decide(device, "trip", second, "allow")
            asked = ["permission_requested", "permission_resolved"]
            assert await answered(device, "trip", turn) == [*HANDED, *asked, *asked, *DONE]
            assert RAN[agent] in it.hostile.ran
            assert len(it.agents.standin(agent).requests) == 1

            # The folder is trusted now, whichever session and hub comes.
            await device.attach("other", agent=agent)
            again = await begin(device, "other", "hello")
            assert await answered(device, "other", again) == [*HANDED, *DONE]
        await server.terminate()
        command = [sys.executable, "-m", "builderos", "audit", "--json", "--data", str(server.data)]
        audit = (await trio.run_process(command, capture_stdout=True)).stdout
        rows = [json.loads(line) for line in audit.splitlines()]
        (row,) = [row for row in rows if row["act"] == "folder_trusted"]
        assert (row["subject"], row["session_id"]) == (str(it.agents.workspace), "trip")
        assert row["key_id"]


@pytest.mark.parametrize("agent", ["claude", "codex"])
async def test_a_no_holds_for_the_session_over_hubs_and_servers(tmp_path: Path, agent: str) -> None:
    async with open_place(tmp_path) as it:
        server = it.agents.server
        async with server.device() as device:
            await device.attach("trip", agent=agent)
            turn = await begin(device, "trip", "hello")
            await decide(device, "trip", await asked_in(device, turn), "deny")
            await answered(device, "trip", turn)
            hub = hubs_of(server.data)["trip"]
        await server.terminate()  # an idle hub ends with it
        await wait_processes_gone([hub])
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            turn = await begin(device, "trip", "again")
            assert await answered(device, "trip", turn) == [*HANDED, *DONE]
        await server.kill9()
        await server.restart()
        async with server.device() as device:
            await device.attach("trip")
            turn = await begin(device, "trip", "and again")
            await answered(device, "trip", turn)
            marker = {"claude": "MARKER-CLAUDE", "codex": "MARKER-AGENTS"}[agent]
            assert marker in it.agents.standin(agent).requests[-1].markers, "instructions always count"
            assert it.is_untouched
            # Another session is asked for itself; an interrupt leaves the message alone.
            await device.attach("other", agent=agent)
            turn = await begin(device, "other", "hello")
            await asked_in(device, turn)
            await device.say("interrupt", session_id="other")
            assert (await end_of(device, turn["turn_id"]))["type"] == "interrupted"
            kinds = kinds_of_turn(device.events("other"), turn["turn_id"])
            assert "d:consumed" not in kinds
        assert it.is_untouched


async def test_a_delegate_asks_for_itself(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        call = ToolUse("mcp__builderos__delegate", {"agent": "codex", "task": "hello"})
        it.agents.claude.script(Answer.of(call), Answer.of("done"))
        async with it.agents.server.device() as device:
            await device.attach("trip", agent="claude")
            turn = await begin(device, "trip", "hand it on")
            first = await asked_in(device, turn)
            assert (first["input"]["agent"], "task_id" in first) == ("claude", False)
            await decide(device, "trip", first, "deny")
            start = len(device.frames)
            second = await asked_in(device, turn, start)
            assert (second["input"]["agent"], "task_id" in second) == ("codex", True)
            assert it.is_untouched
            await decide(device, "trip", second, "deny")
            assert (await end_of(device, turn["turn_id"]))["type"] == "complete"
            (finished,) = device.events("trip", "task_finished")
            assert (finished["state"], it.is_untouched) == ("succeeded", True)
            assert it.agents.codex.requests[-1].markers == ("MARKER-AGENTS",)


async def test_a_relay_with_fixed_settings_runs_after_a_yes_only(tmp_path: Path) -> None:
    ran = tmp_path / "relay-ran"
    command = json.dumps(
        ["/bin/sh", "-c", f'touch {ran}; echo \'JARVIS_PAYLOAD={{"ok":true,"summary":"hi"}}\'']
    )
    relay = f'[agents.relay]\nkind = "bridgehub/1.0"\ncommand = {command}\ndirection = "x"\n'
    async with open_place(tmp_path, relay) as it, it.agents.server.device() as device:
        await device.attach("trip", agent="relay")
        turn = await begin(device, "trip", "hello")
        request = await asked_in(device, turn)
        assert request["options"] == ["allow"]
        names = {run["name"] for run in request["input"]["runs"]}
        assert {"SessionStart", "ANTHROPIC_BASE_URL", "notify"} <= names
        await decide(device, "trip", request, "deny")
        assert (await end_of(device, turn["turn_id"]))["code"] == "agent_exited"
        assert not ran.exists()
        turn = await begin(device, "trip", "hello")
        await decide(device, "trip", await asked_in(device, turn), "allow")
        assert (await end_of(device, turn["turn_id"]))["type"] == "complete"
        assert ran.exists()
        assert not it.hostile.ran


async def test_a_folder_that_the_config_names_is_asked_about_by_nobody(tmp_path: Path) -> None:
    async with open_place(tmp_path, f"trusted_folders = [{json.dumps(str(tmp_path))}]\n") as it:
        async with it.agents.server.device() as device, open_http(it.agents.server) as http:
            await device.attach("trip", agent="claude")
            turn = await begin(device, "trip", "hello")
            assert await answered(device, "trip", turn) == [*HANDED, *DONE]
            assert RAN["claude"] in it.hostile.ran
            assert len(it.agents.claude.requests) == 1, "the operator's address goes before the folder's"
            kinds: list[Any] = [event["type"] for event in await all_events(http, "trip")]
            assert "permission_requested" not in kinds
        await trio.lowlevel.checkpoint()


async def test_the_shipped_app_is_asked_in_words(tmp_path: Path) -> None:
    async with open_place(tmp_path) as it:
        server = it.agents.server
        parts = urlsplit(server.url)
        stream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
        async with open_line(stream, "/api/claude/ws") as line:
            await line.sign_in(server.key)
            with trio.fail_after(2 * START_S):
                await line.say(chat("hello"))
                words, _ = await line.exchange()
                assert words.startswith(f"The folder {it.agents.workspace} has settings that would run")
                assert "- helper apiKeyHelper (.claude/settings.json): touch " in words
                assert words.endswith("deny (or no) to go on without its settings.")
                await line.say(chat("what?"))
                again, _ = await line.exchange()
                assert again == words, "any other text gets the question again"
                assert it.is_untouched
                await line.say(chat("no"))
                answer, end = await line.exchange()
                assert (end["type"], answer.startswith("standin: 1 user messages; last: hello")) == (
                    "complete",
                    True,
                )
        assert it.is_untouched
