"""How an agent calls `delegate`: as a tool of an MCP server, in the process (Claude) or beside it (Codex).

For Claude: put `claude_server(delegation)` among `mcp_servers` under the name `SERVER`, and `CLAUDE_TOOL`
among `allowed_tools`, which spares the question. For Codex: give `codex_arguments(delegation)` to the program
and wrap each turn into `open_codex_turn` instead of `Delegation.open_turn`. The server that Codex then starts
is `delegation_stdio`; it reaches the hub over a socket that only this user may open. An agent of the Agent Client Protocol
starts the same one: give it `acp_servers(delegation)`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson

from bridgehub.agents.base import Sink
from bridgehub.delegation import stdio_server
from bridgehub.delegation.socket import serve_socket, socket_path_of
from bridgehub.delegation.stdio_server import SERVER, TOOL, tool_description, tool_schema
from bridgehub.delegation.tasks import Delegation
from bridgehub.protocol.process_tree import MARKER, TASK_MARKER

if TYPE_CHECKING:
    from claude_agent_sdk import McpSdkServerConfig

__all__ = ["CLAUDE_TOOL", "SERVER", "acp_servers", "claude_server", "codex_arguments", "open_codex_turn"]

CLAUDE_TOOL = f"mcp__{SERVER}__{TOOL}"
"""The tool's full name for Claude Code."""

TOOL_S = 24 * 3600
"""How long an agent waits for a delegate; Codex by itself only a minute. The turn has no limit either."""


def claude_server(delegation: Delegation) -> McpSdkServerConfig | None:
    """Return the MCP server for the Claude Agent SDK; None if nothing is offered. Needs the SDK."""
    from claude_agent_sdk import create_sdk_mcp_server, tool

    if not delegation.offered:
        return None

    @tool(TOOL, tool_description(), tool_schema(delegation.offered))
    async def delegate(arguments: dict[str, Any]) -> dict[str, Any]:
        told = await delegation.new_task(
            arguments["agent"], arguments["task"], arguments.get("context") or ""
        )
        return {"content": [{"type": "text", "text": told.text}], "is_error": told.is_error}

    server = create_sdk_mcp_server(SERVER, tools=[delegate])
    # Not yet among the keys that the SDK knows, but it hands them on: else the tool hides behind a search.
    # Nor may a long call be sent to the background: the turn lasts until the work is done.
    more = {"alwaysLoad": True, "disableAutoBackground": True, "timeout": TOOL_S * 1000}
    return cast("McpSdkServerConfig", {**server, **more})


def codex_arguments(delegation: Delegation) -> tuple[str, ...]:
    """Return the options of `codex` that register the server; empty if nothing is offered.

    The user's own config stays as it is. Nothing in them is secret: the socket lets in who may open it.
    """
    if not delegation.offered:
        return ()
    door = socket_path_of(delegation.spec)
    table: dict[str, object] = {
        "command": sys.executable,
        "args": ["-I", str(Path(stdio_server.__file__)), os.fspath(door), *delegation.offered],
        "default_tools_approval_mode": "approve",
        "tool_timeout_sec": TOOL_S,
        # Else Codex keeps it back until the model searches for tools, which it has no reason to do.
        "omit_tools_from": ["deferred"],
    }
    # By name and value: Codex gives its servers few variables of its own, and a kill goes by these.
    table |= {f"env.{name}": value for name, value in _markers(delegation).items()}
    options = []
    for name, value in table.items():
        # A JSON text, list or number of ours is the same in TOML.
        options += ["-c", f"mcp_servers.{SERVER}.{name}={orjson.dumps(value).decode()}"]
    return tuple(options)


def acp_servers(delegation: Delegation) -> list[dict[str, Any]]:
    """Return the MCP servers of a conversation over the Agent Client Protocol; empty if nothing is offered."""
    if not delegation.offered:
        return []
    door = socket_path_of(delegation.spec)
    arguments = ["-I", str(Path(stdio_server.__file__)), os.fspath(door), *delegation.offered]
    env = [{"name": name, "value": value} for name, value in _markers(delegation).items()]
    return [{"name": SERVER, "command": sys.executable, "args": arguments, "env": env}]


@asynccontextmanager
async def open_codex_turn(delegation: Delegation, turn_id: str, sink: Sink) -> AsyncIterator[None]:
    """Take tasks while inside the block, also those that come from the server beside Codex.

    Raises:
        ExceptionGroup: what the block raised; an OSError in it: the socket cannot be made.
    """
    async with delegation.open_turn(turn_id, sink):
        if not delegation.offered:
            yield
            return
        async with serve_socket(delegation):
            yield


def _markers(delegation: Delegation) -> dict[str, str]:
    spec = delegation.spec
    found = {MARKER: spec.hub_id}
    if TASK_MARKER in spec.env:
        found[TASK_MARKER] = spec.env[TASK_MARKER]
    return found
