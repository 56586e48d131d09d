"""The MCP servers of a trusted folder's `.mcp.json`, in the agent's form. Blocking: use a thread."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from bridgehub.agents.acp.known import known_of
from bridgehub.agents.acp.start import Greeting
from bridgehub.protocol.hub_spec import HubSpec
from bridgehub.trust.acp_files import CLAUDE
from bridgehub.trust.reading import MAX_PARENTS, read_text

__all__ = ["workspace_servers"]

MAX_SERVERS = 32

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def workspace_servers(spec: HubSpec, greeting: Greeting) -> list[dict[str, Any]]:
    """Return the servers of the workspace and the folders above it. For each name the nearest one counts.

    Servers that are invalid, or that the agent cannot take, are left out. The list is empty if the agent reads the file
    itself.
    """
    known = known_of(spec.options.get("command", ()))
    if known is not None and known.name == CLAUDE:
        return []
    takes = greeting.capabilities.inner("mcpCapabilities")
    found: dict[str, dict[str, Any]] = {}
    workspace = Path(spec.workspace)
    for folder in (workspace, *workspace.parents)[:MAX_PARENTS]:
        for name, table in _tables(folder / ".mcp.json").items():
            if name in found or len(found) >= MAX_SERVERS or not isinstance(table, dict):
                continue
            kind = table.get("type") or ("http" if "url" in table else "stdio")
            if kind == "stdio":
                server = _stdio(table, spec.env)
            else:
                server = _remote(str(kind), table, spec.env) if takes.flag(str(kind)) else None
            if server is not None:
                found[name] = {"name": name, **server}
    return list(found.values())


def _tables(path: Path) -> dict[str, Any]:
    try:
        table = orjson.loads(read_text(path) or "{}")
    except orjson.JSONDecodeError:
        return {}
    servers = table.get("mcpServers", table) if isinstance(table, dict) else {}
    return servers if isinstance(servers, dict) else {}


def _stdio(table: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any] | None:
    command, arguments = table.get("command"), table.get("args", [])
    if not isinstance(command, str) or not isinstance(arguments, list):
        return None
    program = _filled(command, env)
    return {
        "command": shutil.which(program, path=env.get("PATH")) or program,
        "args": [_filled(str(word), env) for word in arguments],
        "env": _pairs(table.get("env"), env),
    }


def _remote(kind: str, table: dict[str, Any], env: Mapping[str, str]) -> dict[str, Any] | None:
    if kind not in ("http", "sse") or not isinstance(table.get("url"), str):
        return None
    return {"type": kind, "url": _filled(table["url"], env), "headers": _pairs(table.get("headers"), env)}


def _pairs(given: Any, env: Mapping[str, str]) -> list[dict[str, str]]:
    values = given if isinstance(given, dict) else {}
    return [{"name": name, "value": _filled(str(value), env)} for name, value in values.items()]


def _filled(text: str, env: Mapping[str, str]) -> str:
    """Return a text with its variables replaced. They are written as `${NAME}` or `${NAME:-otherwise}`."""
    return _VARIABLE.sub(lambda found: env.get(found[1], found[2] or ""), text)
