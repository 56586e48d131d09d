"""A server with both real agents, each talking to a stand-in for its model service."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from tests.standin.anthropic import StandIn, open_standin, standin_env
from tests.standin.openai import OpenAIStandIn, codex_env, open_openai
from tests.standin.replies import ToolUse
from tests.support.device import Device, Json
from tests.support.server import Server, open_server

__all__ = [
    "AGENTS",
    "ASKING",
    "FREE",
    "START_S",
    "Agents",
    "agent_tables",
    "bash",
    "begin",
    "end_of",
    "open_agents",
]

AGENTS = ("claude", "codex")

ASKING = {"claude": {}, "codex": {"permission_mode": "untrusted"}}
"""Settings of a session in which each command asks."""

FREE = {"permission_mode": "bypassPermissions"}
"""Settings of a session in which nothing asks, and no sandbox hides a command's processes.

The agents' tables allow it with `allow_bypass`.
"""

START_S = 30.0
"""The first turn of a session starts the program: two seconds, on a busy machine many more."""


@attrs.define(eq=False)
class Agents:
    """See `open_agents`. `home` is the agents' own, `workspace` where they work."""

    server: Server
    claude: StandIn
    codex: OpenAIStandIn
    home: Path
    workspace: Path

    def standin(self, agent: str) -> StandIn | OpenAIStandIn:
        """Return the stand-in of an agent."""
        return self.claude if agent == "claude" else self.codex


def bash(agent: str, command: str) -> ToolUse:
    """Return the call by which the agent's model runs a command."""
    if agent == "claude":
        return ToolUse("Bash", {"command": command, "description": "x"})
    return ToolUse("exec_command", {"cmd": command, "yield_time_ms": 30_000})


def _table(name: str, env: Mapping[str, str], **options: str | float) -> str:
    lines = ["allow_bypass = true", *(f"{option} = {json.dumps(value)}" for option, value in options.items())]
    values = [
        f"{name} = {json.dumps(value)}" for name, value in env.items() if name not in ("PATH", "LANG", "HOME")
    ]
    return "\n".join([f"[agents.{name}]", *lines, f"[agents.{name}.env]", *values, ""])


def agent_tables(
    home: Path,
    claude: StandIn,
    codex: OpenAIStandIn,
    *,
    claude_env: Mapping[str, str] | None = None,
    codex_env_more: Mapping[str, str] | None = None,
    codex_config: str = "",
    silence_s: float = 1800.0,
) -> str:
    """Return the tables of a config file for both agents, which keep their records in `home`; see `open_agents`."""
    claude_table = standin_env(claude.url, str(home)) | dict(claude_env or {})
    codex_table = codex_env(codex.url, str(home), codex_config) | dict(codex_env_more or {})
    tables = _table("claude", claude_table, kind="claude", silence_s=silence_s)
    return tables + _table("codex", codex_table, kind="codex", approval="on-request", silence_s=silence_s)


@asynccontextmanager
async def open_agents(
    folder: Path,
    *,
    config: str = "",
    claude_env: Mapping[str, str] | None = None,
    codex_env_more: Mapping[str, str] | None = None,
    codex_config: str = "",
    silence_s: float = 1800.0,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Agents]:
    """Run a server with the agents `claude` and `codex` while inside the block.

    Args:
        folder: a temporary folder.
        config: further tables of the config file.
        claude_env, codex_env_more: further variables of the agents' tables.
        codex_config: further lines of Codex's provider in its own configuration.
        silence_s: how long the programs may say nothing.
        environment: further variables of the server.
    """
    workspace, home = folder / "workspace", folder / "home"
    workspace.mkdir()
    home.mkdir()
    async with open_standin() as claude, open_openai() as codex:
        tables = agent_tables(
            home,
            claude,
            codex,
            claude_env=claude_env,
            codex_env_more=codex_env_more,
            codex_config=codex_config,
            silence_s=silence_s,
        )
        arguments = ("--workspace", str(workspace))
        async with open_server(
            folder, config=config + tables, arguments=arguments, environment=environment
        ) as server:
            yield Agents(server, claude, codex, home, workspace)


async def begin(device: Device, sid: str, content: str, **fields: Any) -> Json:
    """Send a message; return its `user_message`."""
    start = len(device.frames)
    accepted = await device.send(sid, content, **fields)
    assert accepted["type"] == "accepted", accepted
    return await device.wait_for("user_message", message_id=accepted["message_id"], start=start)


async def end_of(device: Device, turn_id: str) -> Json:
    """Return the last event of a turn; `Device.ask` has less patience."""
    return await device.wait_for(
        lambda frame: (
            frame["type"] in ("complete", "error", "interrupted") and frame.get("turn_id") == turn_id
        ),
        start=0,
        limit_s=START_S,
    )
