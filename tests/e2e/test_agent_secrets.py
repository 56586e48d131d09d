"""No secret of the environment is in what a run leaves behind: journal, logs, argv, errors, frames.

Each secret is a word of its own, planted where an agent gets it. The model services repeat the key that they
refuse, the relay prints its environment as its last words, and programs are killed in mid-turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio

from tests.e2e.agents import FREE, START_S, Agents, bash, begin, end_of, open_agents
from tests.e2e.shared_server import hubs_of
from tests.standin.openai_requests import SeenResponse
from tests.standin.replies import Answer, Failure, Reply, Text
from tests.standin.requests import Seen
from tests.support.device import Device, Json
from tests.support.server import processes_of

SECRETS = {
    "ANTHROPIC_API_KEY": "sk-ant-PLANTED-anthropic-0123456789",
    "STANDIN_API_KEY": "sk-PLANTED-codex-0123456789",
    "OPENAI_API_KEY": "sk-PLANTED-openai-0123456789",
    "RELAY_TOKEN": "PLANTED-relay-0123456789",
    "BUILDEROS_API_KEY": "PLANTED-device-key-0123456789",
}

RELAY = """
import os, sys, json
if "fail" in sys.argv[-1]:
    print({name: value for name, value in os.environ.items() if "BUILDEROS" not in name}, file=sys.stderr)
    sys.exit(3)
print("JARVIS_PAYLOAD=" + json.dumps({"ok": True, "data": {"output": "fine"}}))
"""


def words_of(data: Path) -> list[str]:
    """Return the arguments of all processes of the data folder. Blocks."""
    found = []
    for process in processes_of(data):
        for one in (process, *process.children(recursive=True)):
            try:
                found += one.cmdline()
            except psutil.Error:
                continue
    return found


async def check_arguments(at: Agents, *programs: str) -> None:
    words = await trio.to_thread.run_sync(words_of, at.server.data)
    for program in programs:
        assert any(program in word for word in words), "else nothing was looked at"
    leaked(("".join(words).encode(),), "the arguments")


def leaked(contents: Iterable[bytes], where: str) -> None:
    for content in contents:
        for name, value in SECRETS.items():
            assert value.encode() not in content, f"{name} in {where}"
            # What is left of one by a cut would do as well.
            assert value.removesuffix("-0123456789").encode() not in content, f"{name} in {where}"


async def turn(device: Device, sid: str, content: str) -> Json:
    said = await begin(device, sid, content)
    return await end_of(device, said["turn_id"])


def always(reply: Reply, seen: Seen | SeenResponse) -> Reply:
    return reply


async def killed_in_mid_turn(at: Agents, device: Device, agent: str) -> Json:
    """Have the agent's program killed while it streams; return the turn's end."""
    at.standin(agent).script(Answer.of(Text.of("half ", trio.Event())))
    said = await begin(device, agent, "doomed")
    await device.wait_for("message", content="half ", limit_s=START_S)
    await check_arguments(at, "claude" if agent == "claude" else "app-server")
    for child in hubs_of(at.server.data)[agent].children():
        child.kill()
    return await end_of(device, said["turn_id"])


@pytest.mark.parametrize("agent", ["claude", "codex"])
async def test_the_real_agents_leave_no_secret(place: Path, agent: str) -> None:
    key = SECRETS["ANTHROPIC_API_KEY" if agent == "claude" else "STANDIN_API_KEY"]
    async with open_agents(
        place,
        claude_env={"ANTHROPIC_API_KEY": key, "CLAUDE_CODE_MAX_RETRIES": "0"},
        codex_env_more={"STANDIN_API_KEY": key},
        codex_config="request_max_retries = 0\nstream_max_retries = 0\n",
        environment={name: SECRETS[name] for name in ("OPENAI_API_KEY", "BUILDEROS_API_KEY")},
    ) as at:
        async with at.server.device() as device:
            await device.attach(agent, agent=agent, settings=FREE)
            at.standin(agent).script(Answer.of(bash(agent, "echo hi")), Answer.of("done"))
            assert (await turn(device, agent, "hello"))["type"] == "complete"
            for status in (401, 403, 400, 500):
                failure = Failure(status, "invalid_request_error", f"Incorrect key: {key}.")
                at.standin(agent).fallback = partial(always, failure)
                end = await turn(device, agent, f"fail {status}")
                assert end["type"] == "error"
                if status in (400, 403):
                    assert "Incorrect key: …" in end["content"], "the rest of the words is kept"
            at.standin(agent).fallback = partial(always, Answer.of("well"))
            end = await killed_in_mid_turn(at, device, agent)
            assert end["code"] == "agent_exited"
            at.standin(agent).forget_script()
            assert (await turn(device, agent, "again"))["type"] == "complete"
            leaked((json.dumps(device.frames).encode(),), "frames")
            check_files(at)
        await at.server.terminate()
        check_files(at)


async def test_a_failing_relay_leaves_no_secret(place: Path) -> None:
    (place / "relay.py").write_text(RELAY)
    command = json.dumps([sys.executable, "-I", str(place / "relay.py")])
    config = (
        f'[agents.relay]\nkind = "bridgehub/1.0"\ndirection = "codex_to_claude"\ncommand = {command}\n'
        f'[agents.relay.env]\nRELAY_TOKEN = "{SECRETS["RELAY_TOKEN"]}"\n'
    )
    async with open_agents(place, config=config, environment=SECRETS) as at, at.server.device() as device:
        await device.attach("relay", agent="relay")
        assert (await turn(device, "relay", "hello"))["type"] == "complete"
        end = await turn(device, "relay", "fail")
        assert end["code"] == "agent_exited"
        assert "'RELAY_TOKEN': '…'" in end["content"], "it did print them"
        leaked((json.dumps(device.frames).encode(),), "frames")
        check_files(at)


def check_files(at: Agents) -> None:
    """Look through the data folder, its database with the log of it included, and what the server wrote.

    The server is at work, so a file may go before it is read: there is nothing in it to find any more.
    """
    files = [path for path in at.server.data.rglob("*") if path.is_file() and path.name != "api-key"]
    assert {path.suffix for path in files} >= {".log"}, files
    assert any(path.name.endswith("-wal") or path.suffix == ".db" for path in files), files
    for path in (*files, at.server.errors):
        with suppress(FileNotFoundError):
            leaked((path.read_bytes(),), str(path.relative_to(at.server.data.parent)))
    leaked((at.server.banner.encode(),), "the banner")
