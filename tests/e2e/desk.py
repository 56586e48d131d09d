"""What tests of real terminals share: where the programs are, and what shows that they take keys."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import claude_agent_sdk
import httpx
import trio

from tests.e2e.agents import START_S, Agents, end_of
from tests.standin.anthropic import standin_env
from tests.standin.openai import codex_env
from tests.standin.rig import POLL_S
from tests.support.device import Device, Json
from tests.support.server import ROOT
from tests.support.tui import Tui, open_tui

__all__ = [
    "CLAUDE",
    "CODEX_READY",
    "QUIET",
    "READY",
    "READY_ASKING",
    "claude_env",
    "codex_desk_env",
    "install_hook",
    "listed_at_desk",
    "open_desk",
    "said_at_desk",
]

READY = "/effort"
"""What Claude Code shows once it takes keys."""

READY_ASKING = "for shortcuts"
"""The same in the mode that asks."""

QUIET = """
[tui]
screen_reader_detection_done = true
[notice.model_migrations]
"gpt-5.5" = "gpt-6-sol"
"""
"""Codex's own settings without its first questions."""

CODEX_READY = "default ·"
"""What Codex shows below its prompt once it takes keys: the model and the folder."""

CLAUDE = str(Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude")


def claude_env(agents: Agents) -> dict[str, str]:
    """Return the environment of Claude Code in a terminal, on the stand-in."""
    return standin_env(agents.claude.url, str(agents.home))


async def install_hook(agents: Agents) -> None:
    """Install the hook that brings questions of plain terminals to the devices, as a person does."""
    data = str(agents.server.data)
    install = [sys.executable, "-m", "builderos", "desk", "install", "--yes", "--data", data]
    env = claude_env(agents) | {"PYTHONPATH": str(ROOT)}
    done = await trio.run_process(install, env=env, capture_stdout=True, cwd=ROOT)
    assert b"can be answered on any device" in done.stdout


def codex_desk_env(agents: Agents) -> dict[str, str]:
    """Return the environment of a terminal in which a person runs Codex."""
    return codex_env(agents.codex.url, str(agents.home), QUIET) | {"PYTHONPATH": str(ROOT)}


async def listed_at_desk(http: httpx.AsyncClient, **query: str) -> Json:
    """Return the one entry that a query finds in the desk's list.

    Wait for it: a terminal shows an answer before its program writes the conversation down.
    """
    with trio.fail_after(START_S):
        while True:
            answer = await http.get("/api/desk/sessions", params=query)
            assert answer.status_code == 200, answer.text
            found: list[Json] = answer.json()["sessions"]
            if found:
                (entry,) = found
                return entry
            await trio.sleep(POLL_S)


@asynccontextmanager
async def open_desk(agents: Agents, sid: str, shows: str) -> AsyncIterator[Tui]:
    """Open a session of Codex in a terminal by `builderos resume`, and wait until it shows these words."""
    command = [sys.executable, "-m", "builderos", "resume", sid, "--data", str(agents.server.data)]
    with open_tui(command, agents.workspace, codex_desk_env(agents)) as tui:
        await tui.wait(shows)
        await tui.wait(CODEX_READY)
        yield tui


async def said_at_desk(phone: Device, sid: str, tui: Tui, words: str) -> str:
    """Say something at the desk; return the id of its turn once the phone has the turn's end."""
    start = len(phone.frames)
    await tui.say(words)
    said = await phone.wait_for("user_message", content=words, start=start, limit_s=START_S)
    assert said["device_id"] == "desk"
    turn_id: str = said["turn_id"]
    assert (await end_of(phone, turn_id))["type"] == "complete"
    return turn_id
